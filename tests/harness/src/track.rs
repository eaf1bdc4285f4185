//! Runs the `track` binary as its users do: a process with flags, two signals, and a log to read when something is wrong.

use crate::http::{Answer, Request};
use crate::poll::eventually;
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// From the start of a process to `/readyz` saying yes. Generous: RocksDB opens many files, and tests share two cores.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// From SIGTERM to the end of the process.
const EXIT_WITHIN: Duration = Duration::from_secs(30);
/// How much of the log a failing test shows.
const LOG_LINES_SHOWN: usize = 60;

/// One running `track` process. Dropped, it is killed; its log is shown where the test is failing.
#[derive(Debug)]
pub struct Track {
    role: String,
    child: Child,
    log: PathBuf,
    public: Option<SocketAddr>,
    admin: SocketAddr,
    grpc: Option<SocketAddr>,
}

/// What is started, with which flags, on ports of the system's choice.
#[derive(Debug, Clone)]
pub struct Start {
    binary: PathBuf,
    role: Option<&'static str>,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    log_dir: PathBuf,
}

impl Start {
    /// A role, or all of them in one process; logs are kept in `log_dir`.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, role: Option<&'static str>, log_dir: &Path) -> Self {
        let start = Self {
            binary: binary.into(),
            role,
            args: Vec::new(),
            environment: Vec::new(),
            log_dir: log_dir.to_owned(),
        };
        let start = start.flag("--admin-listen", "127.0.0.1:0").flag("--log-format", "json");
        if role == Some("processor") {
            start.flag("--grpc-listen", "127.0.0.1:0")
        } else {
            start.flag("--listen", "127.0.0.1:0")
        }
    }

    /// All roles in one process, with its data in `dir`, in four partitions whatever machine this is.
    #[must_use]
    pub fn standalone(binary: impl Into<PathBuf>, dir: &Path) -> Self {
        let start = Self::new(binary, None, dir).env("TRACK_PARTITIONS", "4");
        start.flag("--data-dir", &dir.join("data").to_string_lossy())
    }

    /// With one more flag and its value.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.args.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// With a flag that has no value of its own, or has it behind its own `=`.
    #[must_use]
    pub fn switch(mut self, flag: &str) -> Self {
        self.args.push(flag.to_owned());
        self
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With another binary: one that starts the real one in its own way.
    #[must_use]
    pub fn binary(self, binary: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), ..self }
    }

    /// Without a flag that it would have been given.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        while let Some(at) = self.args.iter().position(|arg| arg == name) {
            self.args.drain(at..at + 2);
        }
        self
    }

    fn name(&self) -> &'static str {
        self.role.unwrap_or("standalone")
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// Where it ends first, with what it said, or does not listen in time.
    pub fn spawn(&self) -> Result<Track> {
        let (mut child, log) = self.launch()?;
        let role = self.name().to_owned();
        let found = eventually(READY_WITHIN, &format!("track {role} listens"), || {
            if let Some(status) = child.try_wait()? {
                return Ok(Err(status));
            }
            let text = std::fs::read_to_string(&log)?;
            let admin = announced(&text, "admin").context("no admin address in the log yet")?;
            let (public, grpc) = (announced(&text, "public"), announced(&text, "grpc"));
            ensure!(public.or(grpc).is_some(), "no other address in the log yet");
            Ok(Ok((public, admin, grpc)))
        });
        match found {
            Ok(Ok((public, admin, grpc))) => Ok(Track { role, child, log, public, admin, grpc }),
            Ok(Err(status)) => bail!("track {role} ended with {status}:\n{}", tail(&log)),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error.context(tail(&log)))
            }
        }
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// Where it ends first, with what it said, or is not ready in time.
    pub fn ready(&self) -> Result<Track> {
        let track = self.spawn()?;
        track.wait_ready()?;
        Ok(track)
    }

    /// Starts what is expected to give up by itself, and returns how it ended and what it said.
    ///
    /// # Errors
    /// Where it goes on running.
    pub fn fail(&self) -> Result<(ExitStatus, String)> {
        let (mut child, log) = self.launch()?;
        let ended = wait(&mut child, READY_WITHIN);
        if ended.is_err() {
            child.kill()?;
            child.wait()?;
        }
        Ok((ended.with_context(|| tail(&log))?, std::fs::read_to_string(&log)?))
    }

    fn launch(&self) -> Result<(Child, PathBuf)> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let log = self.log_dir.join(format!("{}-{number}.log", self.name()));
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let mut command = Command::new(&self.binary);
        command.args(self.role).args(&self.args).current_dir(&self.log_dir);
        // A developer's own settings are not the test's.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TRACK_") {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().cloned());
        let child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn();
        Ok((child.with_context(|| format!("start {}", self.binary.display()))?, log))
    }
}

impl Track {
    /// Where it answers its users.
    ///
    /// # Panics
    /// For a processor, which has none.
    #[must_use]
    #[allow(clippy::expect_used, reason = "asking a processor is a mistake in the test")]
    pub fn public(&self) -> SocketAddr {
        self.public.expect("a processor has no public listener")
    }

    /// Where it answers its operator.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Where it answers the query service, if it is a processor.
    #[must_use]
    pub fn grpc(&self) -> Option<SocketAddr> {
        self.grpc
    }

    /// Everything it has printed so far.
    ///
    /// # Errors
    /// Where the file is gone.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    /// The file with what it prints.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// A GET on the admin listener.
    ///
    /// # Errors
    /// Where there is no answer.
    pub fn ask_admin(&self, path: &str) -> Result<Answer> {
        Request::get(path).send(self.admin)
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// Where it does not in time.
    pub fn wait_ready(&self) -> Result<()> {
        eventually(READY_WITHIN, &format!("track {} is ready", self.role), || {
            let answer = self.ask_admin("/readyz")?;
            ensure!(answer.status == 200, "{answer}");
            Ok(())
        })
        .with_context(|| tail(&self.log))
    }

    /// Pulls the plug: SIGKILL, nothing is flushed.
    ///
    /// # Errors
    /// Where the process has panicked before.
    pub fn kill9(mut self) -> Result<()> {
        self.kill_in_place()
    }

    /// The same to a process that another is about to take the place of.
    ///
    /// # Errors
    /// As [`Track::kill9`].
    pub fn kill_in_place(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.check_log()
    }

    /// The number of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended, if it has.
    ///
    /// # Errors
    /// What the system says.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Makes it stand still without its knowing, until [`Track::unfreeze`].
    ///
    /// # Errors
    /// Where it has ended.
    pub fn freeze(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::STOP)?)
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn unfreeze(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::CONT)?)
    }

    /// Asks it to stop, without waiting for it.
    ///
    /// # Errors
    /// Where it has ended already.
    pub fn signal_terminate(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::TERM)?)
    }

    /// Asks it to stop and waits until it has, with exit code 0.
    ///
    /// # Errors
    /// Where it does not in time, or with another code.
    pub fn terminate(mut self) -> Result<()> {
        self.signal_terminate()?;
        let status = wait(&mut self.child, EXIT_WITHIN).with_context(|| tail(&self.log))?;
        ensure!(
            status.code() == Some(0),
            "track {} ended with {status} after SIGTERM:\n{}",
            self.role,
            tail(&self.log)
        );
        self.check_log()
    }

    /// Whether its log is free of panics.
    ///
    /// # Errors
    /// The lines around the first one.
    pub fn check_log(&self) -> Result<()> {
        let text = self.log()?;
        if let Some(at) = text.find("panicked") {
            let (start, end) = (text.floor_char_boundary(at.saturating_sub(500)), text.ceil_char_boundary(at + 1_500));
            bail!("track {} has panicked:\n{}", self.role, &text[start..end]);
        }
        Ok(())
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        // Nothing more can be done about a process that will not end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- track {}\n{}", self.role, tail(&self.log));
        }
    }
}

fn wait(child: &mut Child, within: Duration) -> Result<ExitStatus> {
    eventually(within, "the process ends", || child.try_wait()?.context("it is still running"))
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}

/// The address in the log's line about a listener.
fn announced(log: &str, listener: &str) -> Option<SocketAddr> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut told = lines.filter(|line| line["listener"] == listener);
    told.find_map(|line| line["address"].as_str()?.parse().ok())
}
