//! The arguments of the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use presence_core::{DeviceId, UserId, WorkspaceId};

use crate::config::{SETTINGS, Unit, span};
use crate::identity::{Grant, user_id};

/// The Presence gateway: WebSockets, HTTP API, page and metrics on one port.
///
/// Without any configuration it runs on its own: it listens on 127.0.0.1:4001, believes the `user_id` of every client
/// and keeps profiles in ./presence-data. To be reached from other machines it needs a key for tokens.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "presence-gateway", version, after_long_help = after_long_help())]
pub struct Cli {
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,

    /// Folder to keep profiles in; `:memory:` keeps nothing.
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,

    /// Configuration file to read; by default ./presence.toml, if there is one.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Print every setting and where its value comes from, without secrets, and exit.
    #[arg(long)]
    pub check_config: bool,

    /// What to log: a level, or `target=level` with commas between.
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,

    /// A command to run instead of the gateway.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command to run instead of the gateway.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Print a token for a user, signed with the configured secret, to try things out.
    Token(TokenArgs),
}

/// The user that a token is for, and what it allows.
#[derive(Clone, Debug, Args)]
pub struct TokenArgs {
    /// The user (`sub`).
    #[arg(long, value_name = "ID", value_parser = user_id)]
    pub user: UserId,

    /// The name that others see.
    #[arg(long)]
    pub name: Option<String>,

    /// A workspace that shows the user in its online list; may be repeated.
    #[arg(long, value_name = "ID", value_parser = WorkspaceId::new)]
    pub workspace: Vec<WorkspaceId>,

    /// A channel, or a prefix of channels such as `room:*`; may be repeated. Without it, the token allows the channels
    /// that the gateway gives to tokens without a list.
    #[arg(long, value_name = "PATTERN")]
    pub channel: Vec<String>,

    /// A scope: join, watch, status, broadcast, act, read or admin; may be repeated. Without it: join, watch,
    /// status and broadcast.
    #[arg(long, value_name = "SCOPE")]
    pub scope: Vec<String>,

    /// The device that the token is bound to, such as `web:laptop`.
    #[arg(long, value_name = "ID", value_parser = DeviceId::new)]
    pub device: Option<DeviceId>,

    /// How long the token is valid: 90s, 15m, 1h, 7d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ttl)]
    pub ttl: Duration,
}

impl TokenArgs {
    /// The arguments as a grant, which does not depend on the command line.
    pub fn grant(&self) -> Grant {
        Grant {
            user: self.user.clone(),
            name: self.name.clone(),
            workspaces: self.workspace.clone(),
            channels: self.channel.clone(),
            scopes: self.scope.clone(),
            device: self.device.clone(),
            ttl: self.ttl,
        }
    }
}

fn ttl(text: &str) -> Result<Duration, String> {
    span(text, Unit::Seconds)
}

fn after_long_help() -> String {
    let mut text = String::from(
        "\
Examples:
  presence-gateway
      Serves this machine only, without tokens: open http://127.0.0.1:4001/
  export PRESENCE_JWT_SECRET=$(openssl rand -base64 32)
  presence-gateway --listen 0.0.0.0:4001
      Serves every client that has a token.
  presence-gateway token --user ann --workspace acme --channel 'room:*' --ttl 1h
      Prints such a token.
  presence-gateway --check-config
      Prints every setting, and where its value comes from.

The settings, by their names in presence.toml and in the environment. A flag wins over the environment, the
environment over the file, the file over the default. docs/operations.md tells what each one does.

",
    );
    let width = SETTINGS.iter().map(|it| it.key.len()).max().unwrap_or(0);
    for setting in SETTINGS {
        text += &format!("  {:width$}  {}\n", setting.key, setting.env);
    }
    text += "\nPRESENCE_CONFIG names the file, as --config does.";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_its_help_names_every_setting() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        for setting in SETTINGS {
            assert!(help.contains(setting.key) && help.contains(setting.env));
        }
    }

    #[test]
    fn a_token_is_asked_for_in_one_line() {
        let cli = Cli::try_parse_from([
            "presence-gateway",
            "token",
            "--user",
            "ann",
            "--workspace",
            "acme",
            "--workspace",
            "umbrella",
            "--channel",
            "room:*",
            "--ttl",
            "15m",
            "--config",
            "other.toml",
        ])
        .unwrap();
        assert_eq!(cli.config, Some(PathBuf::from("other.toml")));
        let Some(Command::Token(args)) = cli.command else {
            panic!("no token");
        };
        let grant = args.grant();
        assert_eq!(grant.user.as_str(), "ann");
        assert_eq!(grant.workspaces.len(), 2);
        assert_eq!(grant.ttl, Duration::from_secs(900));
    }

    #[test]
    fn what_is_no_id_is_refused_with_the_reason() {
        let error = Cli::try_parse_from(["presence-gateway", "token", "--user", "a b"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("must not contain ' '"), "{error}");
    }
}
