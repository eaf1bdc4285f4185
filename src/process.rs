//! What every role has besides its work: the signals it obeys, its listeners, its clock.

use crate::admin::digest::States;
use crate::admin::{self, Readiness};
use crate::flags::{CommonFlags, PublicFlags, TlsFlags};
use crate::server::{ServerError, Socket, tls};
use crate::{clock, limits, memory};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use track_proto::clock::Clock;

/// How a process ends that was told twice: 128 and the number of SIGINT, as shells have it.
const EXIT_AT_ONCE: i32 = 130;

/// The process that a role runs in.
pub(crate) struct Process {
    /// Cancelled by the first signal, or by a part that can't go on.
    pub(crate) stop: CancellationToken,
    /// What `/readyz` says.
    pub(crate) readiness: Readiness,
    pub(crate) clock: Clock,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
}

impl Process {
    /// From here on signals are obeyed and metrics recorded.
    ///
    /// # Errors
    /// Where the system refuses.
    pub(crate) fn start(role: &'static str) -> anyhow::Result<Self> {
        limits::raise_open_files();
        memory::trim_from_time_to_time();
        // The first in a process wins; both would be the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let metrics = admin::record_metrics(role)?;
        let stop = CancellationToken::new();
        obey_signals(stop.clone()).context("signals")?;
        tracing::info!(role, version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "starting");
        Ok(Self { stop, readiness: Readiness::default(), clock: clock::system(), metrics })
    }

    /// Serves the admin listener from now until the process ends, so that a drain can be watched. Where the process has a
    /// processor, `states` is to be that one.
    ///
    /// # Errors
    /// Where the address can't be had.
    pub(crate) fn serve_admin(&self, flags: &CommonFlags, states: Option<States>) -> Result<(), ServerError> {
        let listener = Socket::bind("admin", "admin-listen", flags.admin_listen, None)?.listen()?;
        let service = admin::service(self.readiness.clone(), self.metrics.clone(), states);
        tokio::spawn(listener.serve(service, CancellationToken::new(), flags.drain_timeout));
        Ok(())
    }

    /// Takes the public address.
    ///
    /// # Errors
    /// Where it can't be had or the certificate is of no use.
    pub(crate) fn bind_public(&self, flags: &PublicFlags, common: &CommonFlags) -> Result<Socket, ServerError> {
        Socket::bind("public", "listen", flags.listen, acceptor(&common.tls)?)
    }
}

/// What a listener that others reach accepts handshakes with, where it has a certificate.
pub(crate) fn acceptor(flags: &TlsFlags) -> Result<Option<TlsAcceptor>, ServerError> {
    match (&flags.tls_cert, &flags.tls_key) {
        (Some(cert), Some(key)) => tls::acceptor(cert, key).map(Some),
        _ => Ok(None),
    }
}

fn obey_signals(stop: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for told in 1.. {
            let signal = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if told > 1 {
                tracing::warn!(signal, "told again: stopping at once");
                std::process::exit(EXIT_AT_ONCE);
            }
            tracing::info!(signal, "stopping; once more stops at once");
            stop.cancel();
        }
    });
    Ok(())
}
