//! One service of the cluster: starting, up, frozen, stopping or down, with a way to it that may be cut.

use crate::door::Door;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use track_harness::proxy::{Cut, Proxy};
use track_harness::track::{Start, Track};

/// From SIGTERM to the end: requests may take 30 seconds, and so may leaving the group.
const STOPPED_WITHIN: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Ingest,
    Processor,
    Query,
}

pub struct Service {
    pub name: String,
    pub role: Role,
    /// Taken away for good.
    pub is_retired: bool,
    door: Arc<Door>,
    /// Others reach it through this.
    proxy: Option<Proxy>,
    is_cut: bool,
    start: Start,
    /// Where its state is, if it has one.
    folder: Option<PathBuf>,
    life: Life,
}

enum Life {
    Down,
    Starting(JoinHandle<anyhow::Result<Track>>),
    Up(Track),
    Frozen(Track),
    Stopping(Track, Instant),
}

impl Service {
    /// One that is not started yet.
    pub fn new(name: &str, role: Role, start: Start, proxy: Option<Proxy>, folder: Option<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            role,
            is_retired: false,
            door: Arc::default(),
            proxy,
            is_cut: false,
            start,
            folder,
            life: Life::Down,
        }
    }

    /// The same, which is an ingest with a spool in this folder.
    pub fn spooling_in(mut self, spool: &Path) -> Self {
        self.start = self.start.clone().flag("--spool", &spool.to_string_lossy());
        self.door = Arc::new(Door::of_spool());
        self
    }

    pub fn door(&self) -> Arc<Door> {
        Arc::clone(&self.door)
    }

    /// The process, where it is up and answers.
    pub fn track(&self) -> Option<&Track> {
        if let Life::Up(track) = &self.life { Some(track) } else { None }
    }

    pub fn is_down(&self) -> bool {
        matches!(self.life, Life::Down)
    }

    /// Whether nothing is the matter with it.
    pub fn is_well(&self) -> bool {
        self.track().is_some() && !self.is_cut && !self.is_retired
    }

    /// Starts it, without waiting for that.
    pub fn begin(&mut self) {
        assert!(self.is_down(), "{} is there already", self.name);
        let start = self.start.clone();
        self.life = Life::Starting(thread::spawn(move || start.spawn()));
    }

    /// Sees how it is. A process that has ended on its own is a failure.
    pub fn tick(&mut self) {
        self.life = match std::mem::replace(&mut self.life, Life::Down) {
            Life::Starting(starting) if starting.is_finished() => {
                let track = starting.join().unwrap();
                let track = track.unwrap_or_else(|error| panic!("{} does not start: {error:#}", self.name));
                println!("          {} is process {}, {}", self.name, track.pid(), track.log_path().display());
                self.welcome(&track);
                Life::Up(track)
            }
            Life::Up(mut track) => {
                let ended = track.ended().unwrap();
                assert!(
                    ended.is_none(),
                    "{} has ended by itself: {ended:?}, {}",
                    self.name,
                    track.log_path().display()
                );
                Life::Up(track)
            }
            Life::Stopping(mut track, by) => match track.ended().unwrap() {
                Some(status) => {
                    assert_eq!(status.code(), Some(0), "{} after SIGTERM: {}", self.name, track.log_path().display());
                    track.check_log().unwrap();
                    Life::Down
                }
                None => {
                    assert!(Instant::now() < by, "{} does not stop: {}", self.name, track.log_path().display());
                    Life::Stopping(track, by)
                }
            },
            same => same,
        };
    }

    pub fn kill9(&mut self) {
        self.door.shut();
        if let Life::Up(mut track) | Life::Frozen(mut track) = std::mem::replace(&mut self.life, Life::Down) {
            track.kill_in_place().unwrap();
        }
    }

    pub fn terminate(&mut self) {
        self.door.shut();
        self.life = match std::mem::replace(&mut self.life, Life::Down) {
            Life::Up(track) => {
                track.signal_terminate().unwrap();
                Life::Stopping(track, Instant::now() + STOPPED_WITHIN)
            }
            same => same,
        };
    }

    pub fn freeze(&mut self) {
        self.door.shut();
        self.life = match std::mem::replace(&mut self.life, Life::Down) {
            Life::Up(track) => {
                track.freeze().unwrap();
                Life::Frozen(track)
            }
            same => same,
        };
    }

    pub fn thaw(&mut self) {
        self.life = match std::mem::replace(&mut self.life, Life::Down) {
            Life::Frozen(track) => {
                track.unfreeze().unwrap();
                self.welcome(&track);
                Life::Up(track)
            }
            same => same,
        };
    }

    pub fn cut(&mut self, cut: Cut) {
        self.door.shut();
        self.is_cut = true;
        self.proxy.iter().for_each(|proxy| proxy.cut(cut));
    }

    pub fn heal(&mut self) {
        self.is_cut = false;
        self.proxy.iter().for_each(Proxy::heal);
        if let Life::Up(track) = &self.life {
            self.welcome(track);
        }
    }

    /// Leaves nothing of its state.
    pub fn wipe(&self) {
        assert!(self.is_down(), "{} has its folder open", self.name);
        if let Some(folder) = self.folder.as_ref().filter(|folder| folder.exists()) {
            std::fs::remove_dir_all(folder).unwrap();
        }
    }

    /// Keeps a copy of its state, in place of the one before.
    pub fn keep_copy(&self) {
        if let Some((folder, kept)) = self.folder.as_ref().map(|folder| (folder, kept(folder))) {
            let _ = std::fs::remove_dir_all(&kept);
            copy(folder, &kept);
        }
    }

    /// Whether there is a copy of its state.
    pub fn has_copy(&self) -> bool {
        self.folder.as_ref().is_some_and(|folder| kept(folder).exists())
    }

    /// Puts the copy in place of its state.
    pub fn put_back_copy(&self) {
        self.wipe();
        self.folder.iter().for_each(|folder| copy(&kept(folder), folder));
    }

    /// It is there for its clients.
    fn welcome(&self, track: &Track) {
        let address = match self.role {
            Role::Processor => track.grpc().unwrap(),
            Role::Ingest | Role::Query => track.public(),
        };
        match &self.proxy {
            Some(proxy) => {
                proxy.aim(address);
                self.door.open(proxy.address());
            }
            None => self.door.open(address),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // One that is being started is a process that nobody else would end.
        if let Life::Starting(starting) = std::mem::replace(&mut self.life, Life::Down) {
            drop(starting.join());
        }
    }
}

fn kept(folder: &Path) -> PathBuf {
    folder.with_extension("kept")
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}
