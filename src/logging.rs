//! The log, on stderr: lines for people on a terminal, one JSON object a line otherwise.

use crate::flags::{LogFlags, LogFormat};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Installs the log. A panic anywhere becomes a line in it.
pub(crate) fn init(flags: &LogFlags) {
    // A level is what track says; the libraries under it stay quiet below warnings unless a filter names them.
    let filter = match flags.log_level.as_str() {
        level @ ("error" | "warn" | "off" | "trace" | "debug" | "info") => {
            EnvFilter::new(format!("{level},hyper=warn,h2=warn,rustls=warn,tonic=warn,tower=warn,librdkafka=warn"))
        }
        directives => EnvFilter::new(directives),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let human = match flags.log_format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    if human {
        log.with_ansi(std::io::stderr().is_terminal()).with_target(false).init();
    } else {
        log.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    }

    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, %backtrace, "panicked: {}", panic.payload_as_str().unwrap_or("without a message"));
    }));
}
