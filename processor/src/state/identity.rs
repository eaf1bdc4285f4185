//! What a store was made for. A store that was made for something else is refused, never guessed at.
//!
//! Key `identity` of the family `default`; value: text, one `name value` a line, so that a refusal can say what differs.

use crate::SessionPair;

/// The key.
pub(crate) const KEY: &[u8] = b"identity";

/// The version of every layout on [the registry page](super). Raised with each change of one.
pub(crate) const FORMAT_VERSION: u32 = 4;

/// Everything besides the log that the state is a function of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) partition: u32,
    pub(crate) partition_count: u32,
    pub(crate) session_pairs: Vec<SessionPair>,
    pub(crate) session_duration_ms_max: i64,
    pub(crate) retention_seconds: u32,
}

/// A store that this process must not touch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store was made with \"{found}\" and this process is set to \"{wanted}\": {remedy}")]
pub(crate) struct Mismatch {
    found: String,
    wanted: String,
    remedy: &'static str,
}

/// What has to be known of a store to read it as it is, whatever it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MadeWith {
    pub(crate) retention_seconds: u32,
}

impl MadeWith {
    /// Takes it from what a store says of itself, where it is of this format.
    pub(crate) fn read(found: &[u8]) -> Result<Self, Mismatch> {
        let found = String::from_utf8_lossy(found);
        let value = |name: &str| found.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let mismatch = |found: Option<String>, wanted: String| Mismatch {
            found: found.unwrap_or_else(|| "nothing".into()),
            wanted,
            remedy: remedy("format"),
        };
        let format = value("format");
        if format != Some(&*FORMAT_VERSION.to_string()) {
            return Err(mismatch(format.map(|format| format!("format {format}")), format!("format {FORMAT_VERSION}")));
        }
        let retention_seconds = value("retention-seconds").and_then(|seconds| seconds.parse().ok());
        match retention_seconds {
            Some(retention_seconds) => Ok(Self { retention_seconds }),
            None => Err(mismatch(None, "retention-seconds".into())),
        }
    }
}

impl Identity {
    pub(crate) fn encode(&self) -> String {
        let mut lines = vec![
            format!("format {FORMAT_VERSION}"),
            format!("partition {}", self.partition),
            format!("partition-count {}", self.partition_count),
            format!("retention-seconds {}", self.retention_seconds),
            format!("session-max-ms {}", self.session_duration_ms_max),
        ];
        lines.extend(self.session_pairs.iter().map(|pair| format!("session-pair {}:{}", pair.open, pair.close)));
        lines.join("\n")
    }

    /// Compares with what a store says of itself.
    pub(crate) fn check(&self, found: &[u8]) -> Result<(), Mismatch> {
        let found = String::from_utf8_lossy(found);
        let wanted = self.encode();
        let (mut found, mut wanted) = (found.lines(), wanted.lines());
        loop {
            let (found, wanted) = match (found.next(), wanted.next()) {
                (None, None) => return Ok(()),
                (found, wanted) if found == wanted => continue,
                (found, wanted) => (found.unwrap_or("nothing more"), wanted.unwrap_or("nothing more")),
            };
            return Err(Mismatch { found: found.into(), wanted: wanted.into(), remedy: remedy(found) });
        }
    }
}

fn remedy(line: &str) -> &'static str {
    match line.split_once(' ').map_or(line, |(name, _)| name) {
        "format" => "run the version that made it, or remove the store to have it folded again from the log",
        "partition" => "the folder belongs to another partition; give each its own",
        "partition-count" => {
            "a log's partition count is fixed; give back the old count, or remove the store to have it folded again"
        }
        _ => "set it back, or remove the store to have it folded again from the log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            partition: 3,
            partition_count: 12,
            session_pairs: vec![SessionPair { open: "play".into(), close: "stop".into() }],
            session_duration_ms_max: 1_000,
            retention_seconds: 86_400,
        }
    }

    #[test]
    fn a_store_knows_what_it_was_made_for() {
        assert_eq!(identity().check(identity().encode().as_bytes()), Ok(()));
    }

    #[test]
    fn a_store_made_for_something_else_can_be_read_but_not_one_of_another_format() {
        let made_with = MadeWith::read(identity().encode().as_bytes());
        assert_eq!(made_with, Ok(MadeWith { retention_seconds: 86_400 }));
        let wanted = format!("format {FORMAT_VERSION}");
        let other = identity().encode().replace(&wanted, "format 99");
        let refusal = MadeWith::read(other.as_bytes()).unwrap_err().to_string();
        assert!(refusal.contains("format 99") && refusal.contains(&wanted), "{refusal}");
        assert!(MadeWith::read(b"").unwrap_err().to_string().contains("nothing"));
    }

    #[test]
    fn a_refusal_names_what_differs() {
        let mut other = identity();
        other.partition_count = 24;
        let refusal = identity().check(other.encode().as_bytes()).unwrap_err().to_string();
        assert!(refusal.contains("partition-count 24") && refusal.contains("partition-count 12"), "{refusal}");

        let mut other = identity();
        other.session_pairs.push(SessionPair { open: "open".into(), close: "close".into() });
        let refusal = identity().check(other.encode().as_bytes()).unwrap_err().to_string();
        assert!(refusal.contains("session-pair open:close"), "{refusal}");
    }
}
