//! One Kafka node as a process, with a folder of its own. It ends with the test process, however that ends.

use crate::poll::eventually;
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

const POM: &str = include_str!("../../kafka/pom.xml");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// What all test brokers say that they are one of.
const CLUSTER: &str = "dHJhY2stdGVzdHMtMDAwMA";
pub(super) const EXIT_WITHIN: Duration = Duration::from_secs(30);

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

/// A node that runs, or does not just now. Dropped, it is killed and its folder removed.
#[derive(Debug)]
pub(crate) struct Node {
    dir: tempfile::TempDir,
    heap: &'static str,
    keeper: Option<Child>,
}

impl Node {
    /// A folder for a node that will have so much heap, as Java wants it said.
    pub(crate) fn new(heap: &'static str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("track-kafka-").tempdir().context("a folder for the broker")?;
        Ok(Self { dir, heap, keeper: None })
    }

    /// The folder, with the node's data, its settings (`server.properties`) and its log (`broker.log`).
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes the settings, and makes the data folder as they and `flags` say.
    pub(crate) fn format(&self, settings: &str, flags: &[&str]) -> Result<()> {
        fs::write(self.settings_path(), settings)?;
        let formatted = java("kafka.tools.StorageTool", self.heap)?
            .args(["format", "--cluster-id", CLUSTER])
            .args(flags)
            .arg("--config")
            .arg(self.settings_path())
            .output()
            .context("java: the test broker needs Java 17 or newer")?;
        ensure!(formatted.status.success(), "StorageTool: {}", String::from_utf8_lossy(&formatted.stderr));
        Ok(())
    }

    /// Starts it, on what data it has.
    pub(crate) fn start(&mut self) -> Result<()> {
        let log = fs::File::options().create(true).append(true).open(self.log_path())?;
        let broker = java("kafka.Kafka", self.heap)?;
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(self.dir.path())
            .arg(broker.get_program())
            .args(broker.get_args())
            .arg(self.settings_path())
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("sh")?;
        self.keeper = Some(keeper);
        Ok(())
    }

    /// Whether it was started and not ended from here.
    pub(crate) fn is_started(&self) -> bool {
        self.keeper.is_some()
    }

    /// Whether it was started and has ended by itself; then it may be started again.
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = self.keeper.as_mut().is_some_and(|keeper| !matches!(keeper.try_wait(), Ok(None)));
        if ended {
            self.keeper = None;
        }
        ended
    }

    /// Sends it a signal by its name.
    pub(crate) fn signal(&mut self, name: &str) -> Result<()> {
        let keeper = self.keeper.as_mut().context("the broker is not running")?;
        writeln!(keeper.stdin.as_mut().context("the keeper's input")?, "{name}").context("the keeper is gone")
    }

    /// Sends it a signal and waits until it has ended.
    pub(crate) fn end(&mut self, signal: &str) -> Result<()> {
        self.signal(signal)?;
        let mut keeper = self.keeper.take().context("the broker is not running")?;
        eventually(EXIT_WITHIN, "the broker's end", || match keeper.try_wait()? {
            Some(_) => Ok(()),
            None => bail!("it still runs"),
        })
    }

    /// What the end of the test process does.
    #[cfg(test)]
    pub(super) fn lose_keepers_input(&mut self) {
        let mut keeper = self.keeper.take().unwrap();
        drop(keeper.stdin.take());
        keeper.wait().unwrap();
    }

    /// The last lines of its log.
    pub(crate) fn log_end(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn settings_path(&self) -> PathBuf {
        self.dir().join("server.properties")
    }

    fn log_path(&self) -> PathBuf {
        self.dir().join("broker.log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.is_started() && self.end("KILL").is_err() && std::thread::panicking() {
            eprintln!("the test broker was not killed:\n{}", self.log_end());
        }
    }
}

/// Ports that are free now.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let sockets = [(); N].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut ports = [0; N];
    for (port, socket) in ports.iter_mut().zip(sockets) {
        *port = socket.and_then(|socket| socket.local_addr()).context("no free port")?.port();
    }
    Ok(ports)
}

/// A Java class of the broker's jars, tuned to start soon and stay small.
fn java(class: &str, heap: &str) -> Result<Command> {
    let mut java = Command::new("java");
    java.arg(format!("-Xmx{heap}"))
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
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
