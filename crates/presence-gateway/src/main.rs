//! The `presence-gateway` program.

use std::process::ExitCode;

use clap::Parser;
use presence_gateway::cli::{Cli, Command};
use presence_gateway::config::Config;
use presence_gateway::identity::{Gate, mint};
use presence_gateway::{Gateway, logs};
use presence_hub::Clock;
use tokio::signal::unix::{SignalKind, signal};

// The only allocator that gives back what HTTP needed before a connection became a WebSocket. Its background thread gives back
// what a burst needed, also when nothing happens after it; for musl there is none, and memory comes back as others use it.
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
        print!("{config}");
        // What is configured may still not work: the keys are in files of their own.
        Gate::new(&config.jwt, Clock::start().now())?;
        return Ok(());
    }
    if let Some(Command::Token(args)) = &cli.command {
        let grant = args.grant();
        println!("{}", mint(&config.jwt, &grant, Clock::start().now())?);
        return Ok(());
    }
    logs::init(&config.log, config.log_format).map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let gateway = Gateway::start(config).await?;
    println!("listening on http://{}", gateway.address());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::select! {
        () = gateway.stop() => {}
        // Whoever asks twice means now.
        _ = terminate.recv() => anyhow::bail!("stopped at once, as asked twice"),
        _ = interrupt.recv() => anyhow::bail!("stopped at once, as asked twice"),
    }
    Ok(())
}
