//! A small file that says what its folder is: a title, the format's version, and a line for each field, its name and its
//! value. It is there whole or not at all.

use super::{io_error, sync_dir};
use crate::LogError;
use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What such a file says.
pub(crate) struct Label {
    path: PathBuf,
    text: String,
}

/// Reads the file of this name; `None` where there is none.
pub(crate) fn read(dir: &Path, name: &str) -> Result<Option<Label>, LogError> {
    let path = dir.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(Label { path, text })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", &path, error)),
    }
}

/// Writes it, for good.
pub(crate) fn write(
    dir: &Path,
    name: &str,
    (title, version): (&str, u32),
    field: (&str, impl Display),
) -> Result<(), LogError> {
    let (path, draft) = (dir.join(name), dir.join(format!("{name}.tmp")));
    let write = || {
        let mut file = File::create(&draft)?;
        file.write_all(format!("{title}\nversion {version}\n{} {}\n", field.0, field.1).as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, &path)?;
        sync_dir(dir)
    };
    write().map_err(|error| io_error("write", &path, error))
}

impl Label {
    /// The value of a field.
    pub(crate) fn field<T: FromStr>(&self, name: &str) -> Result<T, LogError> {
        self.text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .ok_or_else(|| LogError::Corrupt(format!("{} does not say its {name}", self.path.display())))
    }
}
