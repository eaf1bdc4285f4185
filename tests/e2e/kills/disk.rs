//! No room on the disk: events are refused, nothing is lost, and with room again it goes on by itself.

use super::producer::{Sending, send_all};
use super::standalone::check_digest;
use super::traffic::Traffic;
use crate::{TRACK, standalone};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use track_harness::poll::eventually;
use track_harness::seed::rng;
use track_harness::track::{Start, Track};

const ROOM: &str = "size=40m";
const NOTICED_WITHIN: Duration = Duration::from_secs(60);
/// From the end of all room to the store's saying so, where anything was left to be written.
const SAID_WITHIN: Duration = Duration::from_secs(1);

/// A small file system under the data folder, for as long as this lives or the process does.
pub struct SmallDisk {
    dir: PathBuf,
    is_ours: bool,
}

impl SmallDisk {
    /// Mounts it for all to see, or where that is refused for the process alone, in a namespace of its own.
    pub fn mount(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", ROOM, "tmpfs"]).arg(dir).stderr(Stdio::null()).status();
        Self { dir: dir.to_owned(), is_ours: mounted.is_ok_and(|status| status.success()) }
    }

    /// Starts it with this disk under its folder.
    pub fn start(&self, start: Start, scripts: &Path) -> Start {
        if self.is_ours {
            return start;
        }
        let script = scripts.join("track-on-a-small-disk");
        let mount = format!("mount -t tmpfs -o {ROOM} tmpfs '{}' && exec '{TRACK}' \"$@\"", self.dir.display());
        let text = format!(
            "#!/bin/sh\nexec unshare --user --map-root-user --mount sh -c '{}' track \"$@\"\n",
            mount.replace('\'', r"'\''")
        );
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        start.binary(script)
    }

    /// The folder as the process sees it.
    pub fn inside(&self, track: &Track) -> PathBuf {
        if self.is_ours {
            return self.dir.clone();
        }
        PathBuf::from(format!("/proc/{}/root{}", track.pid(), self.dir.display()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.is_ours {
            // Lazily: a process that was killed may hold a file for a moment more.
            let _ = Command::new("umount").arg("-l").arg(&self.dir).status();
        }
    }
}

/// Takes all the room there is, to the last byte.
pub fn fill(ballast: &Path) {
    let mut file = File::options().create(true).append(true).open(ballast).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

/// Keeps all room taken but for a little now and then, until `what` is said: the log needs some to take events, for which the store
/// then needs more.
fn squeeze(ballast: &Path, track: &Track, sending: &Sending<'_>, what: &str) {
    // A little more than a step by which the log grows.
    const LITTLE: u64 = 3 << 19;
    eventually(NOTICED_WITHIN, what, || {
        fill(ballast);
        let said = eventually(SAID_WITHIN, what, || {
            anyhow::ensure!(track.log()?.contains(what), "not said yet");
            Ok(())
        });
        if said.is_err() {
            let file = File::options().write(true).open(ballast)?;
            file.set_len(file.metadata()?.len().saturating_sub(LITTLE))?;
            // The log has grown by then, and takes some events more when the room is gone again; unless the store was
            // faster and took that too.
            let before = sending.acknowledged();
            let _ = eventually(SAID_WITHIN, "an event is taken", || {
                anyhow::ensure!(sending.acknowledged() > before, "none");
                Ok(())
            });
        }
        said
    })
    .unwrap();
}

#[test]
fn a_full_disk_refuses_and_goes_on_with_room_again() {
    let mut rng = rng("a_full_disk_refuses_and_goes_on_with_room_again");
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let disk = SmallDisk::mount(&data);
    let traffic = Traffic::new("id", 4_000, &mut rng);
    // Every write is flushed at once, or tried to be.
    let start = standalone(dir.path()).flag("--memory", "32MiB").env("FAILPOINTS", "flush-due=return");
    let start = disk.start(start, dir.path());
    let (track, positions) = send_all(&traffic, |sending| {
        let mut track = start.spawn().unwrap();
        sending.aim(&[track.public()]);
        sending.wait_for(0.3);
        let ballast = disk.inside(&track).join("ballast");
        squeeze(&ballast, &track, sending, "the store takes no writes");
        let answer = track.ask_admin("/readyz").unwrap();
        // Unless it has already found room again, in what it gave up itself.
        assert!(answer.status == 503 || track.log().unwrap().contains("the store is open"), "{answer}");
        // More room than nothing, and less than is wanted.
        fill(&ballast);
        assert!(track.ended().unwrap().is_none(), "it outlives a full disk");
        fs::remove_file(&ballast).unwrap();
        sending.wait_for(1.0);
        track.wait_ready().unwrap();
        track
    });
    traffic.check(track.public(), &positions, "with room again");
    assert!(!data.join("state/partition-0000.damaged").exists(), "a full disk is no damage");
    if disk.is_ours {
        check_digest(dir.path(), track);
    } else {
        track.terminate().unwrap();
    }
}
