//! One HTTP server for every listener: HTTP/1.1 and HTTP/2, with TLS or without, for any tower service.
//!
//! - [`Socket`]: an address that is taken, before anything is served on it
//! - `tls`: certificates
//! - [`accept`]: connections as they come, and draining when it is time to stop
//! - [`connection`]: one connection, and how long it may take for what

mod accept;
mod connection;
pub(crate) mod tls;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::TcpSocket;
use tokio_rustls::TlsAcceptor;

/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 4096;

/// Why a listener can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    /// The address is taken, not ours, or not allowed.
    #[error("--{flag} {address}: {error}{hint}", hint = hint(error))]
    Bind { flag: &'static str, address: SocketAddr, error: std::io::Error },
    /// The certificate or the key can't be read.
    #[error("{flag} {}: {reason}", .path.display())]
    TlsFile { flag: &'static str, path: PathBuf, reason: String },
    /// They can be read and are of no use.
    #[error("--tls-cert {} with --tls-key {}: {reason}", .cert.display(), .key.display())]
    Tls { cert: PathBuf, key: PathBuf, reason: String },
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "; stop what listens there or choose another port (0 picks a free one)",
        std::io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
        _ => "",
    }
}

/// An address that is taken but refuses connections until [`Socket::listen`]: a process that can't have its ports says so
/// at once, and one that is still starting is not mistaken for one that hangs.
pub(crate) struct Socket {
    listener: &'static str,
    flag: &'static str,
    socket: TcpSocket,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Socket {
    /// Takes the address that stands in the flag. `listener` is its name in the log.
    ///
    /// # Errors
    /// [`ServerError::Bind`].
    pub(crate) fn bind(
        listener: &'static str,
        flag: &'static str,
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
    ) -> Result<Self, ServerError> {
        let bind = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A restart takes its port back while connections of before are still in TIME_WAIT.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok((socket.local_addr()?, socket))
        };
        let (address, socket) = bind().map_err(|error| ServerError::Bind { flag, address, error })?;
        Ok(Self { listener, flag, socket, address, tls })
    }

    /// Where it will listen, with the port that it got.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where a client on this machine reaches it.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut address = self.address;
        if address.ip().is_unspecified() {
            // 0.0.0.0 is where it listens, not where one goes.
            address.set_ip(if address.is_ipv4() {
                [127, 0, 0, 1].into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        format!("{scheme}://{address}")
    }

    /// Begins to take connections; they are served once [`Listener::serve`] runs.
    ///
    /// # Errors
    /// [`ServerError::Bind`].
    pub(crate) fn listen(self) -> Result<Listener, ServerError> {
        let (address, url) = (self.address, self.url());
        let tcp = self.socket.listen(BACKLOG).map_err(|error| ServerError::Bind { flag: self.flag, address, error })?;
        tracing::info!(listener = self.listener, %address, url, "listening");
        Ok(Listener { name: self.listener, tcp, tls: self.tls })
    }
}

/// A listener that takes connections.
pub(crate) struct Listener {
    name: &'static str,
    tcp: tokio::net::TcpListener,
    tls: Option<TlsAcceptor>,
}
