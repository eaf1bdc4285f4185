//! The `track` binary, asked about itself.

use crate::tree;
use std::collections::BTreeSet;
use std::process::{Command, Output};

/// Every way to start it; `None` is all roles in one process.
pub(crate) const ROLES: [Option<&str>; 4] = [None, Some("ingest"), Some("processor"), Some("query")];

/// What does its work and ends.
pub(crate) const ERRANDS: [&[&str]; 5] =
    [&["processor", "digest"], &["verify"], &["status"], &["replay-dead-letters"], &["load"]];

/// Runs it to its end. Only for what ends by itself.
pub(crate) fn run(args: &[&str], environment: &[(String, String)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_track"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRACK_") {
            command.env_remove(name);
        }
    }
    command.args(args).envs(environment.iter().cloned()).output().unwrap()
}

/// What `--help` says of a role.
pub(crate) fn help(role: Option<&str>) -> String {
    help_of(role.as_slice())
}

fn help_of(command: &[&str]) -> String {
    let args = [command, &["--help"]].concat();
    let output = run(&args, &[]);
    assert!(output.status.success(), "track {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The long flags of a role.
pub(crate) fn flags(role: Option<&str>) -> BTreeSet<String> {
    flags_of(role.as_slice())
}

/// The long flags of a command.
pub(crate) fn flags_of(command: &[&str]) -> BTreeSet<String> {
    let help = help_of(command);
    let words = tree::words(&help, "--", |character| character.is_ascii_lowercase() || character == '-');
    words.into_iter().filter(|word| word.len() > 2).map(str::to_owned).collect()
}

/// The environment variables that a role reads.
pub(crate) fn variables(role: Option<&str>) -> BTreeSet<String> {
    let help = help(role);
    let words = tree::words(&help, "TRACK_", |character| character.is_ascii_uppercase() || character == '_');
    words.into_iter().map(str::to_owned).collect()
}

/// The default of a flag, as a role's help has it.
pub(crate) fn default(role: Option<&str>, flag: &str) -> String {
    let help = help(role);
    let (_, after) = help.split_once(&format!("{flag} ")).unwrap_or_else(|| panic!("{role:?} has no {flag}"));
    let (_, value) = after.split_once("[default: ").unwrap_or_else(|| panic!("{flag} of {role:?} has no default"));
    value.split(']').next().unwrap().to_owned()
}

#[test]
fn asking_the_binary_about_itself_works() {
    for role in ROLES {
        assert!(flags(role).contains("--admin-listen"), "{role:?}");
        assert!(variables(role).contains("TRACK_ADMIN_LISTEN"), "{role:?}");
        assert_eq!(default(role, "--admin-listen"), "127.0.0.1:8081", "{role:?}");
    }
}
