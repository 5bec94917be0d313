//! A container that somebody would start, whoever that is, and what has to be right about it.

use std::time::Duration;

use anyhow::Result;

use super::gateway::{Gateway, span};

/// What the gateway takes at most after its drain, to store what is not stored yet.
pub(super) const AFTER_DRAIN: Duration = Duration::from_secs(5);

/// How long a Redis may be silent until it is taken for dead. What follows takes a few seconds more, and all of it has to
/// be over within the gateways' lease.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// A container of the gateway, as a file in `deploy` describes it.
#[derive(Debug, Default)]
pub(super) struct Container {
    /// Where it is told of: the file and its name there.
    pub(super) told_in: String,
    pub(super) image: String,
    /// With what secrets could be in place of secrets.
    pub(super) env: Vec<(String, String)>,
    /// What it runs, with spaces between the words; empty if the image knows.
    pub(super) command: String,
    /// From the decision to stop it until it is killed.
    pub(super) grace: Option<Duration>,
    /// How much of that goes by before it is told.
    pub(super) lingers: Duration,
}

impl Container {
    /// What is wrong with it, a line each.
    pub(super) fn check(&self, gateway: &Gateway) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        if !is_pinned(&self.image) {
            wrong.push(format!(
                "the image {} is not pinned to a version",
                self.image
            ));
        }
        match self.name() {
            "presence-gateway" => wrong.extend(self.check_gateway(gateway)?),
            "redis" => wrong.extend(self.check_redis()),
            _ => {}
        }
        Ok(wrong
            .into_iter()
            .map(|line| format!("{}: {line}", self.told_in))
            .collect())
    }

    /// The name of its image, without where it is from and which it is.
    pub(super) fn name(&self) -> &str {
        let name = self.image.rsplit('/').next().unwrap_or_default();
        name.split(['@', ':']).next().unwrap_or_default()
    }

    fn check_gateway(&self, gateway: &Gateway) -> Result<Vec<String>> {
        let mut wrong: Vec<String> = self
            .env
            .iter()
            .filter(|(name, _)| !gateway.knows(name))
            .map(|(name, _)| format!("{name} is no setting of the gateway"))
            .collect();
        let values = match gateway.accepts(&self.env)? {
            Ok(values) => values,
            Err(why) => {
                wrong.push(format!("the gateway would not start: {why}"));
                return Ok(wrong);
            }
        };
        let drain = values.get("drain").and_then(|it| span(it));
        let wanted = drain.map(|drain| self.lingers + drain + AFTER_DRAIN);
        match (self.grace, wanted) {
            (Some(grace), Some(wanted)) if grace > wanted => {}
            (Some(grace), Some(wanted)) => wrong.push(format!(
                "is killed {grace:?} after it is stopped, and needs more than {wanted:?}: what goes by before it is told, \
                 its drain and {AFTER_DRAIN:?}"
            )),
            (None, _) => wrong.push("does not say how long it may take to stop".to_owned()),
            (_, None) => wrong.push("has a drain that is no time".to_owned()),
        }
        Ok(wrong)
    }

    fn check_redis(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut want = |is_so: bool, what: &str| {
            if !is_so {
                wrong.push(what.to_owned());
            }
        };
        let has = |option: &str| format!("{} ", self.command).contains(&format!("{option} "));
        let is_quick = |option| {
            let millis = after(&self.command, option).and_then(|it| it.parse().ok());
            millis
                .map(Duration::from_millis)
                .is_some_and(|it| it <= SILENCE_MAX)
        };
        if has("redis-server") {
            want(
                has("--maxmemory-policy noeviction"),
                "it would forget people: --maxmemory-policy noeviction is missing",
            );
            want(
                has("--maxmemory"),
                "without --maxmemory it ends when the memory does",
            );
            want(
                has("--appendonly yes"),
                "a master that comes back empty empties its replicas: --appendonly yes is missing",
            );
            want(
                has("--requirepass"),
                "anybody may use it: --requirepass is missing",
            );
        }
        if has("--cluster-enabled yes") {
            want(
                is_quick("--cluster-node-timeout"),
                "--cluster-node-timeout is missing, or more than 5000",
            );
            want(
                has("--cluster-require-full-coverage no"),
                "a dead master would stop all: --cluster-require-full-coverage no is missing",
            );
        }
        if has("redis-sentinel") {
            want(
                is_quick("down-after-milliseconds presence"),
                "down-after-milliseconds is missing, or more than 5000",
            );
        }
        wrong
    }
}

/// The word after `option`.
fn after<'a>(command: &'a str, option: &str) -> Option<&'a str> {
    let (_, rest) = command.split_once(option)?;
    rest.split_whitespace().next()
}

/// Whether the image is always the same: by a digest, or a version of at least two numbers.
fn is_pinned(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    let tag = name.split_once(':').map_or("", |(_, tag)| tag);
    let version = tag.split('-').next().unwrap_or_default();
    let numbers: Vec<_> = version.split('.').map(str::parse::<u32>).collect();
    image.contains("@sha256:") || (numbers.len() > 1 && numbers.iter().all(Result::is_ok))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_pinned_by_a_version_or_a_digest() {
        for pinned in [
            "redis:7.2.11-alpine",
            "a.example:5000/x/presence-gateway:0.1.0",
            "redis@sha256:00",
        ] {
            assert!(is_pinned(pinned), "{pinned}");
        }
        for loose in [
            "redis",
            "redis:latest",
            "redis:7",
            "redis:alpine",
            "a.example:5000/redis",
        ] {
            assert!(!is_pinned(loose), "{loose}");
        }
    }

    #[test]
    fn a_redis_that_may_forget_or_hesitate_is_told() {
        let server = "redis-server --requirepass x --maxmemory 1gb --maxmemory-policy noeviction --appendonly yes";
        check_redis(server, &[]);
        check_redis("redis-cli --cluster create", &[]);
        check_redis(
            &server.replace("noeviction", "allkeys-lru"),
            &["would forget people"],
        );
        check_redis(
            &server.replace("--maxmemory 1gb", ""),
            &["without --maxmemory"],
        );
        let cluster = format!("{server} --cluster-enabled yes --cluster-require-full-coverage no");
        check_redis(&cluster, &["--cluster-node-timeout is missing"]);
        check_redis(
            &format!("{cluster} --cluster-node-timeout 15000"),
            &["more than 5000"],
        );
        check_redis(&format!("{cluster} --cluster-node-timeout 5000"), &[]);
        let sentinel =
            "sentinel down-after-milliseconds presence 30000\nexec redis-sentinel sentinel.conf";
        check_redis(sentinel, &["down-after-milliseconds"]);
    }

    #[track_caller]
    fn check_redis(command: &str, expected: &[&str]) {
        let container = Container {
            command: command.to_owned(),
            ..Container::default()
        };
        let wrong = container.check_redis();
        assert_eq!(wrong.len(), expected.len(), "{wrong:?}");
        for (line, part) in wrong.iter().zip(expected) {
            assert!(line.contains(part), "{line}");
        }
    }
}
