//! One user's sessions, by looking at every play and stop once, in order of time.

/// A play or a stop and its time, in milliseconds. Closes come before opens of the same instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// A stop.
    Close(i64),
    /// A play.
    Open(i64),
}

impl Edge {
    pub(crate) fn at_ms(self) -> i64 {
        match self {
            Self::Close(at_ms) | Self::Open(at_ms) => at_ms,
        }
    }
}

/// The sessions (start, end) that `edges` make, in the order of their ends.
///
/// A close takes the most recent of the opens of earlier instants that are still open, if that is no further back than
/// `session_ms_max`; else an open of its own instant, if there is one left.
#[must_use]
pub fn scan(mut edges: Vec<Edge>, session_ms_max: i64) -> Vec<(i64, i64)> {
    edges.sort_by_key(|edge| edge.at_ms());
    let mut sessions = Vec::new();
    let mut still_open: Vec<i64> = Vec::new();
    for instant in edges.chunk_by(|a, b| a.at_ms() == b.at_ms()) {
        let at_ms = instant[0].at_ms();
        let closes = instant.iter().filter(|edge| matches!(edge, Edge::Close(_))).count();
        let mut opens = instant.len() - closes;
        let mut closes_left = 0;
        for _ in 0..closes {
            match still_open.pop_if(|start_ms| at_ms - *start_ms <= session_ms_max) {
                Some(start_ms) => sessions.push((start_ms, at_ms)),
                None => closes_left += 1,
            }
        }
        for _ in 0..closes_left.min(opens) {
            sessions.push((at_ms, at_ms));
            opens -= 1;
        }
        still_open.extend(std::iter::repeat_n(at_ms, opens));
    }
    sessions
}
