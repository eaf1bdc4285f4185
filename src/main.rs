//! The `track` command: every role of an event-sourced analytics stream processor, or all of them in one process.
//!
//! In the order in which a start meets them:
//!
//! - [`cli`] and [`flags`]: from the command line and the environment to settings
//! - [`logging`], [`limits`], [`process`]: what every role has: a log, files to open, signals to obey, an admin listener
//! - [`standalone`] and [`roles`]: the rooms, wired together on the embedded log or on Kafka
//! - [`server`]: sockets, TLS, connections, draining; knows nothing of track
//! - [`api`]: what surrounds the rooms' routes: CORS, request metrics, 404 and 405, the API's description
//! - [`admin`]: `/healthz`, `/readyz`, `/metrics`
//! - [`load`]: the load generator, a client of all this
//! - [`clock`]: the wall clock, read here and nowhere else

mod admin;
mod api;
mod cli;
mod clock;
mod flags;
mod limits;
mod load;
mod logging;
mod process;
mod roles;
mod server;
mod standalone;

use cli::{Role, Task};
use process::Process;
use std::process::ExitCode;
use std::time::Duration;

/// How long threads that are still waiting for something may hold up the exit, once everything has been drained.
const EXIT_WITHIN: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let role = match cli::parse() {
        Task::Serve(role) => role,
        Task::Load(flags) => return load::main(&flags),
    };
    logging::init(role.common());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no threads to run on");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        let process = Process::start(&role)?;
        match role {
            Role::Standalone(flags) => standalone::run(flags, process).await,
            Role::Ingest(flags) => roles::ingest::run(flags, process).await,
            Role::Processor(flags) => roles::processor::run(flags, process).await,
            Role::Query(flags) => roles::query::run(flags, process).await,
        }
    });
    runtime.shutdown_timeout(EXIT_WITHIN);
    match outcome {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
