//! A real S3-compatible server for tests, on a port of its own, with one empty bucket. What it holds is in its memory.
//!
//! It ends with the test process, however that ends.

use crate::http::Request;
use crate::track::Start;
use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The bucket that is there.
pub const BUCKET: &str = "track";

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const SERVER: &str = include_str!("../s3/server.py");
const REQUIREMENTS: &str = include_str!("../s3/requirements.txt");

/// A running server. Dropped, it is killed, and everything in it is gone.
#[derive(Debug)]
pub struct S3 {
    child: Child,
    port: u16,
}

impl S3 {
    /// Starts a server and waits until it answers. Installs it where it is missing.
    ///
    /// # Errors
    /// Where Python is missing, or the server did not start.
    pub fn start() -> Result<Self> {
        let version = REQUIREMENTS.trim().rsplit("==").next().context("the requirements name no version")?;
        let installed = Path::new(ROOT).join(format!(".cache/s3-{version}"));
        if !installed.is_dir() {
            let status =
                Command::new(Path::new(ROOT).join("scripts/s3-server")).status().context("scripts/s3-server")?;
            ensure!(status.success(), "scripts/s3-server: {status}");
        }
        let mut child = Command::new("python3")
            .args(["-c", SERVER, BUCKET])
            .env("PYTHONPATH", &installed)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("python3")?;
        let mut said = String::new();
        let output = child.stdout.take().context("its output")?;
        // It says its port, or ends and has said why on stderr.
        BufReader::new(output).read_line(&mut said)?;
        match said.trim().parse() {
            Ok(port) => Ok(Self { child, port }),
            Err(_) => bail!("the S3 server ended with {}", child.wait()?),
        }
    }

    /// What a process needs in its environment to reach it.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 5] {
        environment(self.address())
    }

    /// The same for a track, whose checkpoints go to `prefix` in the bucket.
    #[must_use]
    pub fn checkpoints(&self, start: Start, prefix: &str) -> Start {
        checkpoints_at(self.address(), start, prefix)
    }

    /// How many objects there are whose keys have this in them.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn count(&self, part_of_key: &str) -> Result<usize> {
        Ok(self.keys(part_of_key)?.len())
    }

    /// The keys that have this in them, in their order.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn keys(&self, part_of_key: &str) -> Result<Vec<String>> {
        let (mut keys, mut after) = (Vec::new(), String::new());
        loop {
            let answer = Request::get(format!("/{BUCKET}?list-type=2&start-after={after}")).send(self.address())?;
            ensure!(answer.status == 200, "{answer}");
            let page = String::from_utf8(answer.body)?;
            let of_page = page.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
            let of_page: Vec<_> = of_page.map(str::to_owned).collect();
            let Some(last) = of_page.last() else { return Ok(keys) };
            after.clone_from(last);
            keys.extend(of_page.into_iter().filter(|key| key.contains(part_of_key)));
        }
    }

    /// Removes an object.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn delete(&self, key: &str) -> Result<()> {
        // Who says who he is may; nobody looks whether it is true.
        let signed = "AWS4-HMAC-SHA256 Credential=track/20250101/us-east-1/s3/aws4_request, Signature=none";
        let request = Request::new("DELETE", format!("/{BUCKET}/{key}")).header("authorization", signed);
        let answer = request.send(self.address())?;
        ensure!(answer.status == 204, "{answer}");
        Ok(())
    }

    /// Makes it stop answering without closing a connection, until [`S3::unfreeze`].
    ///
    /// # Errors
    /// Where it has ended.
    pub fn freeze(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::STOP)?)
    }

    /// Lets a frozen one go on.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn unfreeze(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::CONT)?)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

/// A track whose checkpoints go to `prefix` in the bucket of a server that is reached at `address`.
#[must_use]
pub fn checkpoints_at(address: SocketAddr, start: Start, prefix: &str) -> Start {
    let start = start.flag("--checkpoints", &format!("s3://{BUCKET}/{prefix}"));
    environment(address).iter().fold(start, |start, (name, value)| start.env(name, value))
}

fn environment(address: SocketAddr) -> [(&'static str, String); 5] {
    [
        ("AWS_ENDPOINT", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "track".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test-server-secret".to_owned()),
    ]
}

impl Drop for S3 {
    fn drop(&mut self) {
        // Nothing more can be done about a process that will not end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
