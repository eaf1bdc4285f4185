//! What one more edge changes.
//!
//! An open takes the first close that would have found it: a loose one, one with an open of its own instant, or one
//! whose open is earlier. That close's open, if it had one, then looks on from there in the same way, and so on until a
//! loose close, or none, is found. A close goes back in time likewise. Each step is one session taken out and one put in, so
//! the work is what changes. Among edges of one instant and role the one furthest from its partner is moved, so
//! that no session is taken out only to be put in again; which of equal ones it is matters to their expiry alone: the
//! latest open to arrive, the earliest close.

use super::chunk::Entry;
use super::timeline::{Insertion, Place};
use super::{Edge, ReadRows, Role, Session, SessionChange};

impl<R: ReadRows> Insertion<'_, R> {
    pub(super) fn pair(&mut self, edge: Edge) -> Result<SessionChange, R::Error> {
        let mut change = SessionChange::default();
        match edge.role {
            Role::Open => self.insert_open(edge, &mut change)?,
            Role::Close => self.insert_close(edge, &mut change)?,
        }
        Ok(change)
    }

    fn insert_open(&mut self, mut open: Edge, change: &mut SessionChange) -> Result<(), R::Error> {
        let home = self.place_of(open.time_ms)?;
        if let Some(close) = self.read(home)?.loose_close_at(open.time_ms) {
            self.move_over(close, open, change)?;
            return Ok(());
        }
        let mut after_ms = open.time_ms;
        while let Some(close) = self.first_close_for(open.time_ms, after_ms)? {
            let Some(left) = self.move_over(close, open, change)? else { return Ok(()) };
            (open, after_ms) = (left, close.edge.time_ms);
        }
        self.put_loose(open)
    }

    fn insert_close(&mut self, mut close: Edge, change: &mut SessionChange) -> Result<(), R::Error> {
        let mut before_ms = close.time_ms;
        loop {
            let found = match self.last_open_for(close.time_ms, before_ms)? {
                Some(open) => Some(open),
                None => {
                    let home = self.place_of(close.time_ms)?;
                    self.read(home)?.lasting_open_at(close.time_ms)
                }
            };
            let Some(open) = found else { return self.put_loose(close) };
            let Some(left) = self.move_over(open, close, change)? else { return Ok(()) };
            (close, before_ms) = (left, open.edge.time_ms);
        }
    }

    /// Pairs one of the edges of `stored` with `edge`; the partner that it leaves.
    fn move_over(&mut self, stored: Entry, edge: Edge, change: &mut SessionChange) -> Result<Option<Edge>, R::Error> {
        let stored = stored.one();
        self.take(&stored)?;
        if let Some(mirror) = stored.mirror() {
            self.take(&mirror)?;
        }
        change.removed.extend(stored.session());
        let (open, close) = match edge.role {
            Role::Open => (edge, stored.edge),
            Role::Close => (stored.edge, edge),
        };
        change.youngest_arrival_ms = change.youngest_arrival_ms.max(open.arrival_ms).max(close.arrival_ms);
        self.put_pair(open, close)?;
        change.added.push(Session { start_ms: open.time_ms, end_ms: close.time_ms });
        Ok(stored.partner_edge())
    }

    fn put_pair(&mut self, mut open: Edge, mut close: Edge) -> Result<(), R::Error> {
        let mut count = 1;
        if let Some(crowd) = self.crowd(&Entry::paired(open, close, count))? {
            self.take(&crowd)?;
            if let (Some(mirror), Some(partner)) = (crowd.mirror(), crowd.partner) {
                self.take(&mirror)?;
                close.arrival_ms = close.arrival_ms.max(partner.arrival_ms);
            }
            open.arrival_ms = open.arrival_ms.max(crowd.edge.arrival_ms);
            count = crowd.count.saturating_add(count);
        }
        self.put(Entry::paired(open, close, count))?;
        self.put(Entry::paired(close, open, count))
    }

    fn put_loose(&mut self, edge: Edge) -> Result<(), R::Error> {
        let mut entry = Entry::loose(edge);
        if let Some(crowd) = self.crowd(&entry)? {
            self.take(&crowd)?;
            entry.edge.arrival_ms = edge.arrival_ms.max(crowd.edge.arrival_ms);
            entry.count = crowd.count.saturating_add(entry.count);
        }
        self.put(entry)
    }

    fn crowd(&mut self, newcomer: &Entry) -> Result<Option<Entry>, R::Error> {
        let (place, arrivals_max) = (self.place_of(newcomer.edge.time_ms)?, self.rules.arrivals_max);
        Ok(self.read(place)?.crowd(newcomer, arrivals_max))
    }

    /// The first close after `after_ms` that is for an open at `open_ms`.
    fn first_close_for(&mut self, open_ms: i64, after_ms: i64) -> Result<Option<Entry>, R::Error> {
        let rules = self.rules;
        let mut place = self.place_of(after_ms)?;
        loop {
            if let Some(close) = self.read(place)?.first_close_for(open_ms, after_ms, rules) {
                return Ok(Some(close));
            }
            let Place::Sealed(index) = place else { return Ok(None) };
            let next = self.directory()?.and_then(|(_, directory)| directory.next_to_close(index + 1, open_ms, rules));
            place = next.map_or(Place::Tail, Place::Sealed);
        }
    }

    /// The last open before `before_ms` that is for a close at `close_ms`.
    fn last_open_for(&mut self, close_ms: i64, before_ms: i64) -> Result<Option<Entry>, R::Error> {
        let rules = self.rules;
        let mut place = self.place_of(before_ms)?;
        loop {
            if let Some(open) = self.read(place)?.last_open_for(close_ms, before_ms, rules) {
                return Ok(Some(open));
            }
            if matches!(place, Place::Tail) && !self.may_open_sealed(close_ms) {
                return Ok(None);
            }
            let Some((end_ms, directory)) = self.directory()? else { return Ok(None) };
            let index = match place {
                Place::Sealed(index) => index,
                Place::Tail => directory.slots.len(),
            };
            match directory.next_to_open(index, close_ms, end_ms, rules) {
                Some(index) => place = Place::Sealed(index),
                None => return Ok(None),
            }
        }
    }
}
