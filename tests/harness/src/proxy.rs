//! A way to a server that can be cut and healed: a TCP proxy on a port of its own.
//!
//! Where it leads may change, so that a server that comes back on another port is found at the same address.

use anyhow::{Context as _, Result};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CHUNK_BYTES: usize = 16 * 1024;

/// How a way is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Connections are reset, and so are new ones.
    Reset,
    /// Nothing comes through and nobody is told, new connections included. What was under way arrives once it is healed.
    Silence,
}

#[derive(Debug, Clone, Copy)]
struct Way {
    /// Nobody is there where this is missing: connections are reset.
    target: Option<SocketAddr>,
    cut: Option<Cut>,
}

/// A proxy. Dropped, it is gone with all its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    /// New connections that nothing comes through yet.
    knocking: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A proxy on a free port that leads to `target`, or nowhere yet.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn start(target: Option<SocketAddr>) -> Result<Self> {
        let runtime = runtime()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).context("a port for a proxy")?;
        let address = listener.local_addr()?;
        let way = watch::Sender::new(Way { target, cut: None });
        let of_connections = way.subscribe();
        let knocking = Arc::<AtomicUsize>::default();
        let knocking_there = Arc::clone(&knocking);
        let accepting = runtime.spawn(async move {
            loop {
                // An error is one connection's own.
                if let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(carry(client, of_connections.clone(), Arc::clone(&knocking_there)));
                }
            }
        });
        Ok(Self { address, way, knocking, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on new connections go there.
    pub fn aim(&self, target: SocketAddr) {
        self.way.send_modify(|way| way.target = Some(target));
    }

    /// Cuts the way, until [`Proxy::heal`].
    pub fn cut(&self, cut: Cut) {
        self.way.send_modify(|way| way.cut = Some(cut));
    }

    /// How many connections were made since it is silent, those that their clients have left since among them.
    #[must_use]
    pub fn knocking(&self) -> usize {
        self.knocking.load(Ordering::Acquire)
    }

    /// Opens it again.
    pub fn heal(&self) {
        self.way.send_modify(|way| way.cut = None);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Connections end with the sender.
        self.accepting.abort();
    }
}

/// One thread carries what goes through all proxies of a process.
fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let runtime = RUNTIME
        .get_or_init(|| Builder::new_multi_thread().worker_threads(1).thread_name("proxies").enable_all().build());
    runtime.as_ref().map_err(|error| anyhow::anyhow!("a runtime for proxies: {error}"))
}

/// Takes bytes to and fro until either side has ended, or the way is cut.
async fn carry(mut client: TcpStream, mut way: watch::Receiver<Way>, knocking: Arc<AtomicUsize>) {
    if take_through(&mut client, &mut way, &knocking).await.is_err() {
        // As a host does that knows nothing of the connection.
        let _ = client.set_zero_linger();
    }
}

async fn take_through(
    client: &mut TcpStream,
    way: &mut watch::Receiver<Way>,
    knocking: &AtomicUsize,
) -> io::Result<()> {
    knocking.fetch_add(1, Ordering::AcqRel);
    let opened = heard(way).await;
    knocking.fetch_sub(1, Ordering::AcqRel);
    let Way { target: Some(target), cut: None } = opened? else {
        return Err(ErrorKind::ConnectionReset.into());
    };
    let mut server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut of_there, mut of_back) = (way.clone(), way.clone());
    let ended = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let there = pump(from_client, to_server, &mut of_there);
        let back = pump(from_server, to_client, &mut of_back);
        tokio::select! {
            // One that says no more may still listen.
            ended = async { tokio::try_join!(there, back) } => ended.map(|_| ()),
            _ = way.wait_for(|way| way.cut == Some(Cut::Reset)) => Err(ErrorKind::ConnectionReset.into()),
        }
    };
    if ended.is_err() {
        server.set_zero_linger()?;
    }
    ended
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: &mut watch::Receiver<Way>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).await;
        // The end of a connection does not come through either.
        heard(way).await?;
        match read? {
            0 => return to.shutdown().await,
            length => to.write_all(&chunk[..length]).await?,
        }
    }
}

/// Waits until something comes through; an error where the proxy is gone.
async fn heard(way: &mut watch::Receiver<Way>) -> io::Result<Way> {
    let way = way.wait_for(|way| way.cut != Some(Cut::Silence)).await;
    way.map(|way| *way).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::eventually;
    use anyhow::ensure;
    use std::io::{Read as _, Write as _};
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(20);

    /// Sends back each byte that it gets, to any number of clients.
    fn echo() -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while let Ok(1) = stream.read(&mut byte) {
                        stream.write_all(&byte).unwrap();
                    }
                });
            }
        });
        address
    }

    fn connect(proxy: &Proxy) -> std::net::TcpStream {
        let stream = std::net::TcpStream::connect(proxy.address()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    fn asks(mut stream: &std::net::TcpStream, byte: u8) -> io::Result<u8> {
        stream.write_all(&[byte])?;
        let mut back = [0];
        stream.read_exact(&mut back)?;
        Ok(back[0])
    }

    #[test]
    fn a_reset_way_loses_its_connections_and_a_healed_one_takes_new_ones() {
        let proxy = Proxy::start(Some(echo())).unwrap();
        let stream = connect(&proxy);
        assert_eq!(asks(&stream, 7).unwrap(), 7);
        proxy.cut(Cut::Reset);
        assert_eq!((&stream).read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(asks(&connect(&proxy), 8).is_err());
        proxy.heal();
        assert_eq!(asks(&connect(&proxy), 9).unwrap(), 9);
    }

    #[test]
    fn through_a_silent_way_everything_comes_once_it_is_healed() {
        let proxy = Proxy::start(Some(echo())).unwrap();
        let old = connect(&proxy);
        assert_eq!(asks(&old, 1).unwrap(), 1);
        proxy.cut(Cut::Silence);
        let new = connect(&proxy);
        eventually(SOON, "the new one", || {
            ensure!(proxy.knocking() == 1);
            Ok(())
        })
        .unwrap();
        for mut stream in [&old, &new] {
            stream.write_all(&[2]).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let silence = stream.read(&mut [0]).unwrap_err().kind();
            assert!([io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&silence), "{silence}");
            stream.set_read_timeout(Some(SOON)).unwrap();
        }
        proxy.heal();
        for mut stream in [&old, &new] {
            let mut back = [0];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(back, [2]);
        }
        assert_eq!(proxy.knocking(), 0);
    }

    #[test]
    fn it_leads_where_it_is_aimed() {
        let proxy = Proxy::start(None).unwrap();
        assert!(asks(&connect(&proxy), 1).is_err(), "nobody is there");
        proxy.aim(echo());
        assert_eq!(asks(&connect(&proxy), 2).unwrap(), 2);
    }
}
