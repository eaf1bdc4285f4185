//! How far the spool is forwarded: `forwarded` in its folder, as text, the format's version and the offset of the first record
//! that is not known to be on the log. It also says that the folder is a spool's.

use crate::embedded::{io_error, label};
use crate::{Bounds, LogError, Offset};
use std::path::Path;

const VERSION: u32 = 1;
const NAME: &str = "forwarded";

/// Makes a folder a spool's before there is a log in it. One with a log that is no spool is somebody else's.
pub(super) fn claim(dir: &Path) -> Result<(), LogError> {
    if read(dir)?.is_some() {
        return Ok(());
    }
    if ["log.meta", "log/log.meta"].iter().any(|of_a_log| dir.join(of_a_log).exists()) {
        return Err(LogError::Refused(format!(
            "{} holds a log that is no spool, and would be emptied: give the spool a folder of its own",
            dir.display()
        )));
    }
    std::fs::create_dir_all(dir).map_err(|error| io_error("make", dir, error))?;
    write(dir, 0)
}

/// Where forwarding goes on in a folder that is held and whose records are `bounds`.
pub(super) fn first(dir: &Path, bounds: Bounds) -> Result<Offset, LogError> {
    match read(dir)? {
        // Segments go only when all in them is forwarded: where that could not be written down, they say it.
        Some(next) if next <= bounds.end => Ok(next.max(bounds.start)),
        Some(next) => Err(LogError::Corrupt(format!(
            "the spool in {} was forwarded up to record {next} and ends at {}: it is not as it was left; restore it whole, or \
             move the folder away to begin anew",
            dir.display(),
            bounds.end
        ))),
        None => Err(LogError::Corrupt(format!("{} is gone from the spool's folder", dir.join(NAME).display()))),
    }
}

fn read(dir: &Path) -> Result<Option<Offset>, LogError> {
    let Some(forwarded) = label::read(dir, NAME)? else { return Ok(None) };
    match forwarded.field("version")? {
        VERSION => forwarded.field("next").map(Some),
        version => Err(LogError::Refused(format!(
            "the spool in {} has format version {version}, and this program knows version {VERSION}: start the version of \
             track that wrote it until it is empty, or give this one a folder of its own",
            dir.display()
        ))),
    }
}

/// Remembers it, for good.
pub(super) fn write(dir: &Path, next: Offset) -> Result<(), LogError> {
    label::write(dir, NAME, ("track spool", VERSION), ("next", next))
}
