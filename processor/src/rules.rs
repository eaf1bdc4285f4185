//! What the fold is configured to count as a session.

use crate::sessions::Role;
use rustc_hash::FxHashMap;

/// Two events of which the first opens a session and the second closes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPair {
    /// The event that opens, `play` for example.
    pub open: String,
    /// The event that closes, `stop` for example.
    pub close: String,
}

/// A set of pairs that can't be told apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairsError {
    /// One event would open or close twice.
    #[error("the event \"{0}\" stands in more than one place of the session pairs")]
    Ambiguous(String),
    /// More pairs than a key has room for.
    #[error("at most 255 session pairs")]
    TooMany,
}

/// The pairs, and which event plays which role.
#[derive(Debug, Clone)]
pub(crate) struct SessionRules {
    pairs: Vec<SessionPair>,
    roles: FxHashMap<String, (u8, Role)>,
}

impl SessionRules {
    pub(crate) fn new(pairs: Vec<SessionPair>) -> Result<Self, PairsError> {
        let mut roles = FxHashMap::default();
        for (index, pair) in pairs.iter().enumerate() {
            let index = u8::try_from(index).ok().filter(|index| *index < u8::MAX).ok_or(PairsError::TooMany)?;
            for (event, role) in [(&pair.open, Role::Open), (&pair.close, Role::Close)] {
                if roles.insert(event.clone(), (index, role)).is_some() {
                    return Err(PairsError::Ambiguous(event.clone()));
                }
            }
        }
        Ok(Self { pairs, roles })
    }

    pub(crate) fn role(&self, event: &str) -> Option<(u8, Role)> {
        self.roles.get(event).copied()
    }

    /// Whether sessions of a pair are asked for by the names of events: one of them opens or closes it. No names ask for all.
    pub(crate) fn is_asked(&self, pair: u8, events: &[String]) -> bool {
        events.is_empty()
            || self
                .pairs
                .get(usize::from(pair))
                .is_some_and(|pair| events.iter().any(|event| *event == pair.open || *event == pair.close))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(open: &str, close: &str) -> SessionPair {
        SessionPair { open: open.into(), close: close.into() }
    }

    #[test]
    fn an_event_has_one_role_at_most() {
        assert_eq!(
            SessionRules::new(vec![pair("a", "b"), pair("b", "c")]).unwrap_err(),
            PairsError::Ambiguous("b".into())
        );
        assert_eq!(SessionRules::new(vec![pair("a", "a")]).unwrap_err(), PairsError::Ambiguous("a".into()));
        let rules = SessionRules::new(vec![pair("a", "b"), pair("c", "d")]).unwrap();
        assert_eq!(rules.role("d"), Some((1, Role::Close)));
        assert_eq!(rules.role("e"), None);
    }

    #[test]
    fn either_name_asks_for_a_pair() {
        let rules = SessionRules::new(vec![pair("a", "b"), pair("c", "d")]).unwrap();
        assert!(rules.is_asked(0, &[]));
        assert!(rules.is_asked(1, &["x".into(), "d".into()]));
        assert!(!rules.is_asked(1, &["a".into()]));
    }
}
