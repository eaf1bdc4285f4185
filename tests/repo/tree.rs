//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// A path from the repository's root.
pub(crate) fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

pub(crate) fn read(relative: &str) -> String {
    fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

/// Every Rust file under a folder, build output left out.
pub(crate) fn rust_files(relative: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![path(relative)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !["target", "node_modules"].contains(&&*name) && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The words of a text that begin with `prefix`, `allowed` telling which characters belong to a word.
pub(crate) fn words<'t>(text: &'t str, prefix: &str, allowed: fn(char) -> bool) -> Vec<&'t str> {
    text.split(|character| !allowed(character)).filter(|word| word.starts_with(prefix)).collect()
}
