//! Listeners, TLS, the log, and how to stop: what every role has.

use super::values;
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The listener for producers and analysts.
#[derive(Debug, Clone, Args)]
pub(crate) struct PublicFlags {
    /// Where the API is served. Port 0 picks a free one.
    #[arg(long, env = "TRACK_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = values::address)]
    pub(crate) listen: SocketAddr,
    /// Which web pages may use the API: an origin, or * for all. Repeatable; in the environment separated by commas.
    #[arg(long, env = "TRACK_CORS_ORIGIN", value_name = "ORIGIN", default_value = "*", value_delimiter = ',', value_parser = values::origin)]
    pub(crate) cors_origin: Vec<String>,
}

/// The certificate of a listener.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TlsFlags {
    /// Serve TLS with this certificate and its chain (PEM).
    #[arg(long, env = "TRACK_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, env = "TRACK_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// The log, of whatever runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogFlags {
    /// How the log is written to stderr. auto is human on a terminal and json otherwise.
    #[arg(long, env = "TRACK_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value = "auto")]
    pub(crate) log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace or off, or directives such as info,track_log=debug.
    #[arg(long, env = "TRACK_LOG_LEVEL", value_name = "LEVEL", default_value = "info", value_parser = values::log_level)]
    pub(crate) log_level: String,
}

/// What every role that serves something has.
#[derive(Debug, Clone, Args)]
pub(crate) struct CommonFlags {
    /// Where /healthz, /readyz, Prometheus' /metrics and, with partitions, /digest are served, without TLS. Port 0 picks a free one.
    #[arg(long, env = "TRACK_ADMIN_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8081", value_parser = values::address)]
    pub(crate) admin_listen: SocketAddr,
    #[command(flatten)]
    pub(crate) tls: TlsFlags,
    #[command(flatten)]
    pub(crate) log: LogFlags,
    /// After SIGTERM: how long requests under way may take before their connections are closed.
    #[arg(long, env = "TRACK_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = values::duration)]
    pub(crate) drain_timeout: Duration,
}

/// The shape of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    Auto,
    /// Lines for people.
    Human,
    /// One object a line.
    Json,
}
