//! What a store was made for. A store that was made for something else is refused, never guessed at.
//!
//! Key `identity` of the family `default`; value: text, one `name value` a line, so that a refusal can say what differs.

use crate::SessionPair;

/// The key.
pub(crate) const KEY: &[u8] = b"identity";

/// The version of every layout on [the registry page](super). Raised with each change of one.
pub(crate) const FORMAT_VERSION: u32 = 2;

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
