//! A run of edges in order of time: what one row holds, and the searches within it.

use super::{Damaged, Edge, Role, Rules, Session};
use std::cmp::Ordering;

/// The other half of a session, as its own half remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partner {
    pub(super) time_ms: i64,
    pub(super) arrival_ms: i64,
}

/// `count` edges of which none can be told from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) edge: Edge,
    pub(super) partner: Option<Partner>,
    pub(super) count: u64,
}

impl Entry {
    pub(super) fn loose(edge: Edge) -> Self {
        Self { edge, partner: None, count: 1 }
    }

    /// One half of each of `count` sessions; [`Entry::mirror`] is the other.
    pub(super) fn paired(edge: Edge, partner: Edge, count: u64) -> Self {
        let partner = Partner { time_ms: partner.time_ms, arrival_ms: partner.arrival_ms };
        Self { edge, partner: Some(partner), count }
    }

    pub(super) fn one(self) -> Self {
        Self { count: 1, ..self }
    }

    /// The partner as an edge of its own.
    pub(super) fn partner_edge(&self) -> Option<Edge> {
        let Partner { time_ms, arrival_ms } = self.partner?;
        Some(Edge { time_ms, role: self.edge.role.other(), arrival_ms })
    }

    /// The entry of the partners.
    pub(super) fn mirror(&self) -> Option<Self> {
        Some(Self::paired(self.partner_edge()?, self.edge, self.count))
    }

    pub(super) fn session(&self) -> Option<Session> {
        let (own, other) = (self.edge.time_ms, self.partner?.time_ms);
        Some(match self.edge.role {
            Role::Open => Session { start_ms: own, end_ms: other },
            Role::Close => Session { start_ms: other, end_ms: own },
        })
    }

    /// The later arrival of the two halves: when both are old, the entry is forgotten.
    pub(super) fn touched_ms(&self) -> i64 {
        self.partner.map_or(self.edge.arrival_ms, |partner| partner.arrival_ms.max(self.edge.arrival_ms))
    }

    /// Within an instant: closes, then opens. Of closes first those that an open would be given first: loose ones, then
    /// sessions without length, then the furthest partner. Of opens last those that a close would be given first: the
    /// furthest partner, then those still open.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let by_edge = |entry: &Self| (entry.edge.time_ms, entry.edge.role);
        let by_partner = |entry: &Self| match (entry.edge.role, entry.partner) {
            (Role::Close, None) => (0, 0),
            (Role::Close, Some(partner)) if partner.time_ms == entry.edge.time_ms => (1, 0),
            (Role::Close, Some(partner)) => (2, partner.time_ms),
            (Role::Open, Some(partner)) => (0, partner.time_ms),
            (Role::Open, None) => (1, 0),
        };
        let by_arrival = |entry: &Self| (entry.edge.arrival_ms, entry.partner.map(|partner| partner.arrival_ms));
        by_edge(self)
            .cmp(&by_edge(other))
            .then_with(|| by_partner(self).cmp(&by_partner(other)))
            .then_with(|| by_arrival(self).cmp(&by_arrival(other)))
    }

    /// Same instant, role and partner's instant: told apart by arrivals alone.
    fn is_alike(&self, other: &Self) -> bool {
        self.edge.time_ms == other.edge.time_ms
            && self.edge.role == other.edge.role
            && self.partner.map(|partner| partner.time_ms) == other.partner.map(|partner| partner.time_ms)
    }
}

/// What a search must know of a chunk to skip it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    /// A close is loose or took an open of its own instant: it would take any earlier open.
    pub(super) has_spare_close: bool,
    /// The earliest open that a close of this chunk took from before the chunk.
    pub(super) reaches_back_ms: Option<i64>,
    /// An open is still open.
    pub(super) has_open: bool,
    /// The latest close that took an open of this chunk from after the chunk.
    pub(super) reaches_on_ms: Option<i64>,
    /// The arrival of the youngest edge or partner.
    pub(super) touched_ms: i64,
}

impl Summary {
    pub(super) const EMPTY: Self = Self {
        has_spare_close: false,
        reaches_back_ms: None,
        has_open: false,
        reaches_on_ms: None,
        touched_ms: i64::MIN,
    };

    pub(super) fn and(self, other: Self) -> Self {
        let earlier = |a: Option<i64>, b: Option<i64>| a.into_iter().chain(b).min();
        Self {
            has_spare_close: self.has_spare_close || other.has_spare_close,
            reaches_back_ms: earlier(self.reaches_back_ms, other.reaches_back_ms),
            has_open: self.has_open || other.has_open,
            reaches_on_ms: self.reaches_on_ms.max(other.reaches_on_ms),
            touched_ms: self.touched_ms.max(other.touched_ms),
        }
    }

    /// Whether a close in here is for an open at `open_ms`, which is before the chunk.
    pub(super) fn may_close(&self, open_ms: i64) -> bool {
        self.has_spare_close || self.reaches_back_ms.is_some_and(|taken_ms| taken_ms < open_ms)
    }

    /// Whether an open in here is for a close at `close_ms`, which is after the chunk.
    pub(super) fn may_open(&self, close_ms: i64) -> bool {
        self.has_open || self.reaches_on_ms.is_some_and(|taken_ms| taken_ms > close_ms)
    }
}

/// Entries in [`Entry::order`], no two alike in all but the count. All edges of an instant are in one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    entries: Vec<Entry>,
    /// No entry was touched before this: up to ttl from here there is nothing to forget.
    oldest_ms: i64,
}

impl Chunk {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        let oldest_ms = entries.iter().map(Entry::touched_ms).min().unwrap_or(i64::MAX);
        Self { entries, oldest_ms }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    pub(super) fn first_ms(&self) -> Option<i64> {
        self.entries.first().map(|entry| entry.edge.time_ms)
    }

    pub(super) fn touched_ms(&self) -> i64 {
        self.entries.iter().map(Entry::touched_ms).max().unwrap_or(i64::MIN)
    }

    pub(super) fn summary(&self) -> Summary {
        let mut summary = Summary { touched_ms: self.touched_ms(), ..Summary::EMPTY };
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else { return summary };
        let (first_ms, last_ms) = (first.edge.time_ms, last.edge.time_ms);
        for Entry { edge, partner, .. } in &self.entries {
            match (edge.role, partner.map(|partner| partner.time_ms)) {
                (Role::Open, None) => summary.has_open = true,
                (Role::Open, Some(taken_ms)) if taken_ms > last_ms => {
                    summary.reaches_on_ms = summary.reaches_on_ms.max(Some(taken_ms));
                }
                (Role::Close, Some(taken_ms)) if taken_ms < first_ms => {
                    let furthest_ms = summary.reaches_back_ms.map_or(taken_ms, |back_ms| back_ms.min(taken_ms));
                    summary.reaches_back_ms = Some(furthest_ms);
                }
                (Role::Close, None) => summary.has_spare_close = true,
                (Role::Close, Some(taken_ms)) if taken_ms == edge.time_ms => summary.has_spare_close = true,
                _ => {}
            }
        }
        summary
    }

    /// Drops what is forgotten at `now_ms`; whether there was any.
    pub(super) fn forget(&mut self, now_ms: i64, rules: &Rules) -> bool {
        if self.entries.is_empty() || !rules.is_over(self.oldest_ms, now_ms) {
            return false;
        }
        let before = self.entries.len();
        self.entries.retain(|entry| !rules.is_over(entry.touched_ms(), now_ms));
        self.oldest_ms = self.entries.iter().map(Entry::touched_ms).min().unwrap_or(i64::MAX);
        self.entries.len() != before
    }

    pub(super) fn put(&mut self, entry: Entry) {
        self.oldest_ms = self.oldest_ms.min(entry.touched_ms());
        if self.entries.last().is_none_or(|last| last.order(&entry).is_lt()) {
            if self.entries.len() < 4 {
                // Most users have an edge or two, and there are many users.
                self.entries.reserve_exact(1);
            }
            self.entries.push(entry);
            return;
        }
        match self.entries.binary_search_by(|stored| stored.order(&entry)) {
            Ok(index) => self.entries[index].count = self.entries[index].count.saturating_add(entry.count),
            Err(index) => self.entries.insert(index, entry),
        }
    }

    /// Takes as many edges out as `entry` counts.
    pub(super) fn take(&mut self, entry: &Entry) -> Result<(), Damaged> {
        let index = self
            .entries
            .binary_search_by(|stored| stored.order(entry))
            .map_err(|_| Damaged("half of a session is missing"))?;
        let stored = &mut self.entries[index];
        stored.count = stored.count.checked_sub(entry.count).ok_or(Damaged("some halves of sessions are missing"))?;
        if stored.count == 0 {
            self.entries.remove(index);
        }
        Ok(())
    }

    /// The first close after `after_ms` that is for an open at `open_ms`: a spare one, or one that took an earlier open.
    pub(super) fn first_close_for(&self, open_ms: i64, after_ms: i64, rules: &Rules) -> Option<Entry> {
        let start = self.entries.partition_point(|entry| entry.edge.time_ms <= after_ms);
        self.entries[start..]
            .iter()
            .take_while(|entry| rules.is_in_reach(open_ms, entry.edge.time_ms))
            .find(|Entry { edge, partner, .. }| {
                edge.role == Role::Close
                    && partner.is_none_or(|partner| partner.time_ms == edge.time_ms || partner.time_ms < open_ms)
            })
            .copied()
    }

    /// The last open before `before_ms` that is for a close at `close_ms`: still open, or taken by a later close.
    pub(super) fn last_open_for(&self, close_ms: i64, before_ms: i64, rules: &Rules) -> Option<Entry> {
        let end = self.entries.partition_point(|entry| entry.edge.time_ms < before_ms);
        self.entries[..end]
            .iter()
            .rev()
            .take_while(|entry| rules.is_in_reach(entry.edge.time_ms, close_ms))
            .find(|Entry { edge, partner, .. }| {
                edge.role == Role::Open && partner.is_none_or(|partner| partner.time_ms > close_ms)
            })
            .copied()
    }

    /// A close at `time_ms` that took nothing.
    pub(super) fn loose_close_at(&self, time_ms: i64) -> Option<Entry> {
        let first = self.entries.partition_point(|entry| entry.edge.time_ms < time_ms);
        let entry = self.entries.get(first)?;
        (entry.edge.time_ms == time_ms && entry.edge.role == Role::Close && entry.partner.is_none()).then_some(*entry)
    }

    /// An open at `time_ms` that no close of the same instant took.
    pub(super) fn lasting_open_at(&self, time_ms: i64) -> Option<Entry> {
        let end = self.entries.partition_point(|entry| entry.edge.time_ms <= time_ms);
        let entry = self.entries[..end].last()?;
        let lasts = entry.partner.is_none_or(|partner| partner.time_ms != time_ms);
        (entry.edge.time_ms == time_ms && entry.edge.role == Role::Open && lasts).then_some(*entry)
    }

    /// The entry that takes a newcomer in, where `arrivals_max` others like it are told apart already.
    pub(super) fn crowd(&self, newcomer: &Entry, arrivals_max: usize) -> Option<Entry> {
        let last = match self.entries.binary_search_by(|stored| stored.order(newcomer)) {
            Ok(_) => return None,
            Err(index) => {
                let behind = self.entries[index..].iter().take_while(|entry| entry.is_alike(newcomer)).count();
                index + behind
            }
        };
        let crowd = self.entries[..last].iter().rev().take(arrivals_max).take_while(|entry| entry.is_alike(newcomer));
        (crowd.count() == arrivals_max).then(|| self.entries[last - 1])
    }

    /// Cuts the chunk between two instants, near the entry at `index`; the later part, where there are two instants.
    pub(super) fn split_off(&mut self, index: usize) -> Option<Self> {
        let time_ms = self.entries.get(index)?.edge.time_ms;
        let start = self.entries.partition_point(|entry| entry.edge.time_ms < time_ms);
        let end = self.entries.partition_point(|entry| entry.edge.time_ms <= time_ms);
        let cut = if start > 0 { start } else { end };
        if cut == self.entries.len() {
            return None;
        }
        let later = Self::new(self.entries.split_off(cut));
        *self = Self::new(std::mem::take(&mut self.entries));
        Some(later)
    }
}
