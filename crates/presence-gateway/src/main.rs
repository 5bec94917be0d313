//! The `presence-gateway` program: reads the configuration, runs a gateway, and stops it on a signal.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use presence_gateway::cli::{Cli, Command};
use presence_gateway::config::Config;
use presence_gateway::identity::{Gate, mint};
use presence_gateway::{Gateway, logs, traces};
use presence_hub::WallClock;
use tokio::signal::unix::{Signal, SignalKind, signal};

// This allocator gives memory back that HTTP needed before a connection became a WebSocket; others keep it. Its background
// thread gives back what a burst needed, even if nothing happens afterwards. musl has no such thread: there, memory is given
// back as the allocator is used.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("presence-gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let config = Config::load(cli, std::env::vars_os())?;
    if cli.check_config {
        say(&config.to_string())?;
        // A valid configuration may still not work: the keys are in files of their own.
        Gate::new(&config.jwt, WallClock::start().now())?;
        return Ok(());
    }
    if let Some(Command::Token(args)) = &cli.command {
        let grant = args.grant();
        let token = mint(&config.jwt, &grant, WallClock::start().now())?;
        return Ok(say(&format!("{token}\n"))?);
    }
    logs::init(&config.log, config.log_format).map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let (gateway, signals) = runtime.block_on(start(config))?;
    let served = runtime.block_on(serve(&gateway, signals));
    runtime.block_on(traces::stop());
    // Drop the runtime before the gateway: the driver of a database that did not answer in time would start its last
    // work on it.
    drop(runtime);
    drop(gateway);
    served
}

/// Writes `text` to stdout. A reader that has enough of it, like `head`, is no error.
fn say(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// The signals that ask a gateway to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn start(config: Config) -> anyhow::Result<(Gateway, Signals)> {
    let signals = Signals::new()?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    traces::init(&config)?;
    Ok((Gateway::start(config).await?, signals))
}

async fn serve(gateway: &Gateway, mut signals: Signals) -> anyhow::Result<()> {
    // Nobody has to read it.
    let _ = say(&format!("listening on http://{}\n", gateway.address()));
    tokio::select! {
        () = signals.next() => {}
        () = gateway.asked_to_stop() => {}
    }
    tokio::select! {
        () = gateway.stop() => return Ok(()),
        // A second signal means: stop now.
        () = signals.next() => {}
    }
    gateway.stop_now().await;
    anyhow::bail!("stopped at once, as asked twice")
}
