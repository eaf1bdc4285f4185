//! Runs `track` for what does its work and ends.

use crate::TRACK;
use std::process::Command;

/// How an errand ended, what it printed and what it complained of.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub printed: String,
    pub said: String,
}

/// Runs the binary to its end.
pub fn run(args: &[&str]) -> Ended {
    let mut command = Command::new(TRACK);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TRACK_")) {
        command.env_remove(name);
    }
    let output = command.args(args).output().unwrap();
    let ended = Ended {
        code: output.status.code(),
        printed: String::from_utf8(output.stdout).unwrap(),
        said: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!ended.said.contains("panicked"), "{ended:?}");
    ended
}
