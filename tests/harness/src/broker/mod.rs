//! A real Kafka broker for tests: one node that is controller and broker, in a folder of its own, on ports of its own.
//!
//! It has two listeners: one in the clear, and one with TLS that asks for a user (SCRAM-SHA-512, PLAIN or OAUTHBEARER).
//! It ends with the test process, however that ends. [`node`] is its process, [`settings`] what it is set to.

pub(crate) mod node;
pub(crate) mod settings;

use crate::poll::eventually;
use crate::tls;
use anyhow::{Context as _, Result, bail, ensure};
use node::Node;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// The user that the secured listener knows.
pub const USER: &str = "track";
/// That user's password.
pub const PASSWORD: &str = "test-broker-password";

/// From the start of the process to an answer about its metadata. Generous: tests share two cores with a compiler.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(90);
/// Another process may take a port between our choosing it and the broker's binding it.
pub(crate) const START_ATTEMPTS: usize = 3;

/// A running (or stopped) broker. Dropped, it is killed and its folder removed.
#[derive(Debug)]
pub struct Broker {
    node: Node,
    ports: Ports,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    plain: u16,
    secured: u16,
    controller: u16,
}

impl Broker {
    /// Starts a broker and waits until it answers.
    ///
    /// # Errors
    /// Where Java or the jars are missing, or the broker did not start; with the end of its log.
    pub fn start() -> Result<Self> {
        let mut attempt = 1;
        loop {
            let [plain, secured, controller] = node::free_ports()?;
            let mut broker = Self::format(Ports { plain, secured, controller })?;
            match broker.restart() {
                Err(_) if attempt < START_ATTEMPTS => attempt += 1,
                done => return done.map(|()| broker),
            }
        }
    }

    /// The broker that all tests of one test binary share.
    ///
    /// # Panics
    /// Where [`Broker::start`] fails.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().expect("a Kafka broker for the tests"))
    }

    /// `bootstrap.servers` of the listener in the clear.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// `bootstrap.servers` of the listener with TLS and SASL.
    #[must_use]
    pub fn secured_bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports.secured)
    }

    /// The certificate that the secured listener's is signed with: `ssl.ca.location`.
    #[must_use]
    pub fn ca_pem_path(&self) -> PathBuf {
        self.dir().join("ca.pem")
    }

    /// What a client needs to say to use the secured listener with a password; `mechanism` is `SCRAM-SHA-512` or `PLAIN`.
    #[must_use]
    pub fn secured_properties(&self, mechanism: &str, password: &str) -> Vec<(String, String)> {
        let mut properties = self.tls_properties();
        for (name, value) in [("sasl.mechanism", mechanism), ("sasl.username", USER), ("sasl.password", password)] {
            properties.push((name.to_owned(), value.to_owned()));
        }
        properties
    }

    /// What a client needs to say to use the secured listener, short of saying who it is.
    #[must_use]
    pub fn tls_properties(&self) -> Vec<(String, String)> {
        let ca = self.ca_pem_path().to_string_lossy().into_owned();
        vec![("security.protocol".to_owned(), "SASL_SSL".to_owned()), ("ssl.ca.location".to_owned(), ca)]
    }

    /// Kills the broker as a power cut would.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn kill9(&mut self) -> Result<()> {
        self.node.end("KILL")
    }

    /// Stops the broker in good order.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.node.end("TERM")
    }

    /// Makes the broker stop answering without closing a connection, until [`Broker::unfreeze`].
    ///
    /// # Errors
    /// Where the broker is not running.
    pub fn freeze(&mut self) -> Result<()> {
        self.node.signal("STOP")
    }

    /// Lets a frozen broker go on.
    ///
    /// # Errors
    /// Where the broker is not running.
    pub fn unfreeze(&mut self) -> Result<()> {
        self.node.signal("CONT")
    }

    /// Starts the broker again, on the same ports with the same data, and waits until it answers. Kills it first
    /// where it runs.
    ///
    /// # Errors
    /// Where it did not start; with the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        if self.node.is_started() {
            self.kill9()?;
        }
        self.node.start()?;
        self.await_ready()
    }

    /// The folder with the broker's data, its settings (`server.properties`) and its log (`broker.log`).
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.node.dir()
    }

    fn format(ports: Ports) -> Result<Self> {
        let node = Node::new("512m")?;
        let certificates = tls::Certificates::for_localhost()?;
        fs::write(node.dir().join("ca.pem"), &certificates.ca)?;
        fs::write(node.dir().join("broker.pem"), format!("{}{}", certificates.key, certificates.chain))?;
        let scram = format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]");
        node.format(&settings(node.dir(), ports), &["--standalone", "--add-scram", &scram])?;
        Ok(Self { node, ports })
    }

    fn await_ready(&mut self) -> Result<()> {
        let client = asker(&self.bootstrap())?;
        let mut exited = false;
        let ready = eventually(READY_WITHIN, "the broker's answer", || {
            exited = self.node.has_ended();
            if exited {
                return Ok(());
            }
            let metadata = client.fetch_metadata(None, Duration::from_millis(500))?;
            ensure!(!metadata.brokers().is_empty(), "no broker yet");
            Ok(())
        });
        if exited {
            bail!("the broker ended at once:\n{}", self.node.log_end());
        }
        ready.with_context(|| self.node.log_end())
    }
}

fn settings(dir: &Path, Ports { plain, secured, controller }: Ports) -> String {
    let shared = settings::shared(1, dir, &format!("127.0.0.1:{controller}"), 1);
    let listeners = format!(
        "listeners=PLAIN://127.0.0.1:{plain},SECURED://127.0.0.1:{secured},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAIN://127.0.0.1:{plain},SECURED://127.0.0.1:{secured}\n\
         listener.security.protocol.map=PLAIN:PLAINTEXT,SECURED:SASL_SSL,CONTROLLER:PLAINTEXT\n"
    );
    format!("{shared}{listeners}{}", settings::secured(dir))
}

/// A client that asks brokers what there is.
pub(crate) fn asker(bootstrap: &str) -> Result<BaseConsumer> {
    let client = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        // Until it is up, each refused connection would be a line of log.
        .set("log_level", "0")
        .set("reconnect.backoff.max.ms", "100")
        .create()?;
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_broker_comes_back_on_its_ports() {
        let mut broker = Broker::start().unwrap();
        let bootstrap = broker.bootstrap();
        broker.kill9().unwrap();
        assert!(std::net::TcpStream::connect(&bootstrap).is_err(), "it is gone");
        broker.restart().unwrap();
        assert_eq!(broker.bootstrap(), bootstrap);
        std::net::TcpStream::connect(&bootstrap).unwrap();
    }

    #[test]
    fn the_broker_ends_with_its_keepers_input() {
        let mut broker = Broker::start().unwrap();
        broker.node.lose_keepers_input();
        assert!(std::net::TcpStream::connect(broker.bootstrap()).is_err(), "it is gone");
        eventually(node::EXIT_WITHIN, "the end of its folder", || {
            ensure!(!broker.dir().exists(), "it is still there");
            Ok(())
        })
        .unwrap();
    }
}
