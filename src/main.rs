//! The `track` command: every role of an event-sourced analytics stream processor, or all of them in one process.
//!
//! In the order in which a start meets them:
//!
//! - [`cli`] and [`flags`]: from the command line and the environment to settings
//! - [`logging`], [`limits`], [`process`]: what every role has: a log, files to open, signals to obey, an admin listener
//! - [`standalone`] and [`roles`]: the rooms, wired together on the embedded log or on Kafka
//! - [`connect`]: the way to processors elsewhere
//! - [`digest`] and [`verify`]: what a state is, and whether two are the same; they end by themselves
//! - [`status`]: which processors there are, what each serves, and what nobody does
//! - [`replay`]: dead letters put back
//! - [`server`]: sockets, TLS, connections, draining; knows nothing of track
//! - [`api`]: what surrounds the rooms' routes: CORS, request metrics, 404 and 405, the API's description
//! - [`admin`]: `/healthz`, `/readyz`, `/metrics`
//! - [`load`]: the load generator, a client of all this
//! - [`clock`]: the wall clock, read here and nowhere else

mod admin;
mod api;
mod cli;
mod clock;
mod connect;
mod digest;
mod flags;
mod limits;
mod load;
mod logging;
mod memory;
mod process;
mod replay;
mod roles;
mod server;
mod standalone;
mod status;
mod verify;

use cli::{Role, Task};
use process::Process;
use std::process::ExitCode;
use std::time::Duration;

/// How long threads that are still waiting for something may hold up the exit, once everything has been drained.
const EXIT_WITHIN: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    memory::return_soon();
    let role = match cli::parse() {
        Task::Run(role) => role,
        Task::Load(flags) => return load::main(&flags),
    };
    // Only what the tests build has points to fail at; which of them do, the environment says.
    let _fail_points = fail::has_failpoints().then(fail::FailScenario::setup);
    logging::init(role.log());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no threads to run on");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        let name = role.name();
        match role {
            Role::Standalone(flags) => stopped(standalone::run(flags, Process::start(name)?).await),
            Role::Ingest(flags) => stopped(roles::ingest::run(flags, Process::start(name)?).await),
            Role::Processor(flags) => stopped(roles::processor::run(flags, Process::start(name)?).await),
            Role::Query(flags) => stopped(roles::query::run(flags, Process::start(name)?).await),
            Role::Digest(flags) => digest::run(&flags),
            Role::Verify(flags) => Ok(verify::run(&flags).await),
            Role::Status(flags) => Ok(status::run(flags).await),
            Role::ReplayDeadLetters(flags) => stopped(replay::run(flags, Process::start(name)?).await),
        }
    });
    runtime.shutdown_timeout(EXIT_WITHIN);
    outcome.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::FAILURE
    })
}

/// A service that ended as it was told to.
fn stopped(outcome: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    outcome.map(|()| {
        tracing::info!("stopped");
        ExitCode::SUCCESS
    })
}
