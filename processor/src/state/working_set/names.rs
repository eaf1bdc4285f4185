//! The names of events in memory: each is looked up once per event, and a small number stands for it from there on.

use crate::rules::SessionRules;
use crate::sessions::Role;
use hashbrown::HashMap;

/// An event's name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name {
    /// What stands for it until the next write.
    pub(super) index: u32,
    /// The session pair that it opens or closes.
    pub(crate) role: Option<(u8, Role)>,
}

/// The names that were met.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<Box<str>>,
    known: HashMap<Box<str>, Name>,
}

impl Names {
    pub(super) fn find(&mut self, name: &str, rules: &SessionRules) -> Name {
        if let Some(found) = self.known.get(name) {
            return *found;
        }
        let index = u32::try_from(self.names.len()).expect("they are let go of long before there are so many");
        let new = Name { index, role: rules.role(name) };
        self.names.push(name.into());
        self.known.insert(name.into(), new);
        new
    }

    pub(super) fn text(&self, index: u32) -> &[u8] {
        self.names.get(index as usize).map_or(&[], |name| name.as_bytes())
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}
