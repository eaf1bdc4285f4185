//! A real Kafka broker for tests: one node that is controller and broker, in a folder of its own, on ports of its own.
//!
//! It has two listeners: one in the clear, and one with TLS that asks for a user (SCRAM-SHA-512, PLAIN or OAUTHBEARER).
//! It ends with the test process, however that ends.

use crate::poll::eventually;
use crate::tls;
use anyhow::{Context as _, Result, bail, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// The user that the secured listener knows.
pub const USER: &str = "track";
/// That user's password.
pub const PASSWORD: &str = "test-broker-password";

const POM: &str = include_str!("../kafka/pom.xml");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// From the start of the process to an answer about its metadata. Generous: tests share two cores with a compiler.
const READY_WITHIN: Duration = Duration::from_secs(90);
const EXIT_WITHIN: Duration = Duration::from_secs(30);
/// Another process may take a port between our choosing it and the broker's binding it.
const START_ATTEMPTS: usize = 3;

/// Runs the broker and watches two things: signal names that come in on its input, and the end of that input, which is
/// the end of the test process; then it removes the broker's folder too, whose owner can't any more. (`PR_SET_PDEATHSIG`
/// would follow the thread that started the broker, which is one test.)
const KEEPER: &str = r#"
dir=$1
shift
exec 3<&0
"$@" </dev/null 3<&- &
broker=$!
{
    while read -r signal; do kill -s "$signal" "$broker"; done
    trap '' TERM
    kill -s KILL "$broker"
    rm -rf "$dir"
} <&3 &
watch=$!
wait "$broker"
kill "$watch"
"#;

/// A running (or stopped) broker. Dropped, it is killed and its folder removed.
#[derive(Debug)]
pub struct Broker {
    dir: tempfile::TempDir,
    ports: Ports,
    keeper: Option<Child>,
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
            let broker = Self::format(Ports::free()?)?;
            match broker.run() {
                Err(_) if attempt < START_ATTEMPTS => attempt += 1,
                done => return done,
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
        self.dir.path().join("ca.pem")
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
        self.end("KILL")
    }

    /// Stops the broker in good order.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.end("TERM")
    }

    /// Makes the broker stop answering without closing a connection, until [`Broker::unfreeze`].
    ///
    /// # Errors
    /// Where the broker is not running.
    pub fn freeze(&mut self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets a frozen broker go on.
    ///
    /// # Errors
    /// Where the broker is not running.
    pub fn unfreeze(&mut self) -> Result<()> {
        self.signal("CONT")
    }

    /// Starts the broker again, on the same ports with the same data, and waits until it answers. Kills it first
    /// where it runs.
    ///
    /// # Errors
    /// Where it did not start; with the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        if self.keeper.is_some() {
            self.kill9()?;
        }
        self.keeper = Some(self.spawn()?);
        self.await_ready()
    }

    /// The folder with the broker's data, its settings (`server.properties`) and its log (`broker.log`).
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn format(ports: Ports) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("track-kafka-").tempdir().context("a folder for the broker")?;
        let certificates = tls::Certificates::for_localhost()?;
        fs::write(dir.path().join("ca.pem"), &certificates.ca)?;
        fs::write(dir.path().join("broker.pem"), format!("{}{}", certificates.key, certificates.chain))?;
        fs::write(dir.path().join("server.properties"), settings(dir.path(), ports))?;
        let scram = format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]");
        let formatted = java("kafka.tools.StorageTool")?
            .args([
                "format",
                "--standalone",
                "--cluster-id",
                "dHJhY2stdGVzdHMtMDAwMA",
                "--add-scram",
                &scram,
                "--config",
            ])
            .arg(dir.path().join("server.properties"))
            .output()
            .context("java: the test broker needs Java 17 or newer")?;
        ensure!(formatted.status.success(), "StorageTool: {}", String::from_utf8_lossy(&formatted.stderr));
        Ok(Self { dir, ports, keeper: None })
    }

    fn run(mut self) -> Result<Self> {
        self.keeper = Some(self.spawn()?);
        self.await_ready()?;
        Ok(self)
    }

    fn spawn(&self) -> Result<Child> {
        let log = fs::File::options().create(true).append(true).open(self.log_path())?;
        let broker = java("kafka.Kafka")?;
        Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(self.dir.path())
            .arg(broker.get_program())
            .args(broker.get_args())
            .arg(self.dir.path().join("server.properties"))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("sh")
    }

    fn await_ready(&mut self) -> Result<()> {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            // Until it is up, each refused connection would be a line of log.
            .set("log_level", "0")
            .set("reconnect.backoff.max.ms", "100")
            .create()?;
        let mut exited = false;
        let ready = eventually(READY_WITHIN, "the broker's answer", || {
            exited = self.keeper.as_mut().is_some_and(|keeper| !matches!(keeper.try_wait(), Ok(None)));
            if exited {
                return Ok(());
            }
            let metadata = client.fetch_metadata(None, Duration::from_millis(500))?;
            ensure!(!metadata.brokers().is_empty(), "no broker yet");
            Ok(())
        });
        if exited {
            self.keeper = None;
            bail!("the broker ended at once:\n{}", self.log_end());
        }
        ready.with_context(|| self.log_end())
    }

    fn signal(&mut self, name: &str) -> Result<()> {
        let keeper = self.keeper.as_mut().context("the broker is not running")?;
        writeln!(keeper.stdin.as_mut().context("the keeper's input")?, "{name}").context("the keeper is gone")
    }

    fn end(&mut self, signal: &str) -> Result<()> {
        self.signal(signal)?;
        let mut keeper = self.keeper.take().context("the broker is not running")?;
        eventually(EXIT_WITHIN, "the broker's end", || match keeper.try_wait()? {
            Some(_) => Ok(()),
            None => bail!("it still runs"),
        })
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("broker.log")
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.keeper.is_some() && self.kill9().is_err() && std::thread::panicking() {
            eprintln!("the test broker was not killed:\n{}", self.log_end());
        }
    }
}

impl Ports {
    /// Three ports that are free now.
    fn free() -> Result<Self> {
        let sockets = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
        let mut ports = sockets.iter().map(|socket| match socket {
            Ok(socket) => Ok(socket.local_addr()?.port()),
            Err(error) => bail!("no free port: {error}"),
        });
        let mut port = move || ports.next().context("three sockets")?;
        Ok(Self { plain: port()?, secured: port()?, controller: port()? })
    }
}

fn settings(dir: &Path, Ports { plain, secured, controller }: Ports) -> String {
    let dir = dir.display();
    let mut settings = format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAIN://127.0.0.1:{plain},SECURED://127.0.0.1:{secured},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAIN://127.0.0.1:{plain},SECURED://127.0.0.1:{secured}\n\
         listener.security.protocol.map=PLAIN:PLAINTEXT,SECURED:SASL_SSL,CONTROLLER:PLAINTEXT\n\
         inter.broker.listener.name=PLAIN\n\
         log.dirs={dir}/data\n"
    );
    let login = "org.apache.kafka.common.security";
    for (name, value) in [
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.location", &format!("{dir}/broker.pem")),
        ("sasl.enabled.mechanisms", "SCRAM-SHA-512,PLAIN,OAUTHBEARER"),
        ("scram-sha-512.sasl.jaas.config", &format!("{login}.scram.ScramLoginModule required;")),
        ("plain.sasl.jaas.config", &format!("{login}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";")),
        // Takes tokens without a signature: it is the client's side that is being tested.
        (
            "oauthbearer.sasl.jaas.config",
            &format!("{login}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"{USER}\";"),
        ),
    ] {
        let _ = writeln!(settings, "listener.name.secured.{name}={value}");
    }
    // One node, so everything has one replica; and whatever waits for a fuller cluster or a slower network does not.
    for (name, value) in [
        ("auto.create.topics.enable", "false"),
        ("offsets.topic.replication.factor", "1"),
        ("offsets.topic.num.partitions", "1"),
        ("transaction.state.log.replication.factor", "1"),
        ("transaction.state.log.min.isr", "1"),
        ("transaction.state.log.num.partitions", "1"),
        ("share.coordinator.state.topic.replication.factor", "1"),
        ("share.coordinator.state.topic.min.isr", "1"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("group.min.session.timeout.ms", "1000"),
        ("group.consumer.min.heartbeat.interval.ms", "100"),
        ("group.consumer.heartbeat.interval.ms", "300"),
        ("group.consumer.min.session.timeout.ms", "1000"),
        ("group.consumer.session.timeout.ms", "6000"),
        ("log.initial.task.delay.ms", "500"),
        ("log.retention.check.interval.ms", "500"),
        ("num.recovery.threads.per.data.dir", "1"),
    ] {
        let _ = writeln!(settings, "{name}={value}");
    }
    settings
}

/// A Java class of the broker's jars, tuned to start soon and stay small.
fn java(class: &str) -> Result<Command> {
    let mut java = Command::new("java");
    java.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .arg("-cp")
        .arg(jars()?.join("*"))
        .arg(class);
    Ok(java)
}

/// The folder with the jars; fetched where it is missing.
fn jars() -> Result<PathBuf> {
    static JARS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = JARS.get_or_init(|| {
        let version = POM
            .split_once("<kafka.version>")
            .and_then(|(_, rest)| rest.split_once("</kafka.version>"))
            .map(|(version, _)| version)
            .ok_or("the pom names no version")?;
        let jars = Path::new(ROOT).join(format!(".cache/kafka-{version}"));
        if !jars.is_dir() {
            let script = Path::new(ROOT).join("scripts/kafka-jars");
            let status = Command::new(&script).status().map_err(|error| format!("{}: {error}", script.display()))?;
            if !status.success() {
                return Err(format!("{}: {status}", script.display()));
            }
        }
        Ok(jars)
    });
    match found {
        Ok(jars) => Ok(jars.clone()),
        Err(error) => bail!("{error}"),
    }
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
        // What the end of the test process does.
        let mut keeper = broker.keeper.take().unwrap();
        drop(keeper.stdin.take());
        keeper.wait().unwrap();
        assert!(std::net::TcpStream::connect(broker.bootstrap()).is_err(), "it is gone");
        eventually(EXIT_WITHIN, "the end of its folder", || {
            ensure!(!broker.dir().exists(), "it is still there");
            Ok(())
        })
        .unwrap();
    }
}
