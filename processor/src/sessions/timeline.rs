//! The rows of one user and session pair, as a value that is loaded, changed by many edges, and stored once.
//!
//! Nearly every timeline is its tail alone. One that outgrows it has its earlier edges in sealed chunks, which are read
//! only where a search has to look.

use super::chunk::{Chunk, Entry, Summary};
use super::directory::{Directory, Slot};
use super::{Damaged, Edge, ReadRows, RowId, Rules, SessionChange, WriteRows, row};
use smallvec::SmallVec;

/// One user's edges of one session pair.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    tail: Chunk,
    is_tail_changed: bool,
    /// Apart from the rest: hardly any timeline has it, and there are many timelines in memory.
    sealed: Option<Box<Sealed>>,
    /// Rows to delete.
    dropped: Vec<RowId>,
}

/// What is not in the tail.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    /// The tail has every edge from here on, and none before.
    pub(super) from_ms: i64,
    /// Of all chunks.
    pub(super) summary: Summary,
    /// The row, once it was read.
    pub(super) directory: Option<Directory>,
}

impl Timeline {
    /// The timeline behind these rows; reads the tail.
    pub(crate) fn load<R: ReadRows>(rows: &mut R) -> Result<Self, R::Error> {
        let tail = rows.get(RowId::Tail)?;
        Ok(Self::from_tail(tail.as_ref().map(AsRef::as_ref))?)
    }

    /// The timeline with this value of [`RowId::Tail`].
    pub(crate) fn from_tail(row: Option<&[u8]>) -> Result<Self, Damaged> {
        let (tail, sealed) = row.map(row::decode_tail).transpose()?.unwrap_or((Chunk::new(Vec::new()), None));
        Ok(Self { tail, is_tail_changed: false, sealed: sealed.map(Box::new), dropped: Vec::new() })
    }

    /// What `edge` does to the sessions at the stream time `now_ms`, which never falls from one edge to the next. `rows` are
    /// those that the timeline was loaded from: chunks are read where a search needs them, nothing is written. After an
    /// error the timeline must not be used again.
    pub(crate) fn insert<R: ReadRows>(
        &mut self,
        rows: &mut R,
        edge: Edge,
        now_ms: i64,
        rules: &Rules,
    ) -> Result<SessionChange, R::Error> {
        let mut insertion = Insertion::begin(self, rows, rules, now_ms);
        let change = insertion.pair(edge)?;
        insertion.settle()?;
        Ok(change)
    }

    /// Writes the rows that changed since they were read or last stored.
    pub(crate) fn store(&mut self, rows: &mut impl WriteRows) {
        for row in self.dropped.drain(..) {
            rows.delete(row);
        }
        if let Some(Sealed { summary, directory: Some(directory), .. }) = self.sealed.as_deref_mut() {
            for slot in directory.slots.iter_mut().filter(|slot| slot.is_changed) {
                if let Some(chunk) = &slot.chunk {
                    rows.put(RowId::Chunk(slot.key_ms), row::encode_chunk(chunk), slot.summary.touched_ms);
                    slot.is_changed = false;
                }
            }
            if std::mem::take(&mut directory.is_changed) {
                rows.put(RowId::Directory, row::encode_directory(directory), summary.touched_ms);
            }
        }
        if std::mem::take(&mut self.is_tail_changed) {
            if self.tail.entries().is_empty() && self.sealed.is_none() {
                rows.delete(RowId::Tail);
            } else {
                rows.put(RowId::Tail, row::encode_tail(&self.tail, self.sealed.as_deref()), self.touched_ms());
            }
        }
    }

    /// Lets go of everything but the tail, once it was stored: the rest is read again where a search needs it.
    pub(crate) fn keep_tail(&mut self) {
        if let Some(sealed) = &mut self.sealed {
            sealed.directory = None;
        }
    }

    /// Bytes that it has beside its own size, once the tail alone is kept.
    pub(crate) fn heap_bytes(&self) -> usize {
        let sealed = self.sealed.as_ref().map_or(0, |_| size_of::<Sealed>());
        self.tail.heap_bytes() + sealed + self.dropped.capacity() * size_of::<RowId>()
    }

    /// The arrival of the youngest edge or partner, sealed ones included: the tail leads to them and must outlive them.
    fn touched_ms(&self) -> i64 {
        let sealed_ms = self.sealed.as_ref().map_or(i64::MIN, |sealed| sealed.summary.touched_ms);
        self.tail.touched_ms().max(sealed_ms)
    }

    fn directory_mut(&mut self) -> Option<&mut Directory> {
        self.sealed.as_mut()?.directory.as_mut()
    }

    /// Drops the sealed chunks, of which everything is forgotten. Those that were not read are past their lives as stored.
    fn unseal(&mut self) {
        if let Some(directory) = self.sealed.take().and_then(|sealed| sealed.directory) {
            self.dropped.extend(directory.slots.iter().map(|slot| RowId::Chunk(slot.key_ms)));
        }
        self.dropped.push(RowId::Directory);
        self.is_tail_changed = true;
    }
}

/// Where an instant's edges are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Sealed(usize),
    Tail,
}

/// A timeline while one edge is inserted: what is forgotten at that moment is never seen.
pub(super) struct Insertion<'a, R> {
    timeline: &'a mut Timeline,
    rows: &'a mut R,
    pub(super) rules: &'a Rules,
    now_ms: i64,
    is_directory_open: bool,
    is_directory_changed: bool,
    /// An instant of each sealed chunk that was changed.
    changed: SmallVec<[i64; 4]>,
}

impl<'a, R: ReadRows> Insertion<'a, R> {
    fn begin(timeline: &'a mut Timeline, rows: &'a mut R, rules: &'a Rules, now_ms: i64) -> Self {
        if timeline.sealed.as_ref().is_some_and(|sealed| rules.is_over(sealed.summary.touched_ms, now_ms)) {
            timeline.unseal();
        }
        timeline.is_tail_changed |= timeline.tail.forget(now_ms, rules);
        Self {
            timeline,
            rows,
            rules,
            now_ms,
            is_directory_open: false,
            is_directory_changed: false,
            changed: SmallVec::new(),
        }
    }

    /// The sealed chunks, read and without those that are forgotten, where there are any.
    pub(super) fn directory(&mut self) -> Result<Option<(i64, &mut Directory)>, R::Error> {
        let Timeline { sealed, dropped, .. } = &mut *self.timeline;
        let Some(Sealed { directory, .. }) = sealed.as_deref_mut() else { return Ok(None) };
        if directory.is_none() {
            let row = self.rows.get(RowId::Directory)?.ok_or(Damaged("the directory is missing"))?;
            *directory = Some(row::decode_directory(row.as_ref())?);
        }
        if !self.is_directory_open
            && let Some(directory) = directory
        {
            self.is_directory_open = true;
            self.is_directory_changed |= directory.forget(self.now_ms, self.rules, dropped);
            if directory.slots.is_empty() {
                self.timeline.unseal();
            }
        }
        Ok(self.timeline.sealed.as_mut().and_then(|sealed| Some((sealed.from_ms, sealed.directory.as_mut()?))))
    }

    /// Whether a sealed chunk has an open for a close at `close_ms` in the tail, so far as the tail tells.
    pub(super) fn may_open_sealed(&self, close_ms: i64) -> bool {
        self.timeline.sealed.as_deref().is_some_and(|Sealed { from_ms, summary, .. }| {
            summary.may_open(close_ms) && self.rules.is_in_reach(from_ms.saturating_sub(1), close_ms)
        })
    }

    pub(super) fn place_of(&mut self, time_ms: i64) -> Result<Place, R::Error> {
        if self.timeline.sealed.as_ref().is_none_or(|sealed| time_ms >= sealed.from_ms) {
            return Ok(Place::Tail);
        }
        Ok(self.directory()?.map_or(Place::Tail, |(_, directory)| Place::Sealed(directory.index_of(time_ms))))
    }

    pub(super) fn read(&mut self, place: Place) -> Result<&Chunk, R::Error> {
        let Place::Sealed(index) = place else { return Ok(&self.timeline.tail) };
        let slot = self.timeline.directory_mut().and_then(|directory| directory.slots.get_mut(index));
        let slot = slot.ok_or(Damaged("the directory has no such chunk"))?;
        let chunk = match &mut slot.chunk {
            Some(chunk) => chunk,
            unread => {
                let row = self.rows.get(RowId::Chunk(slot.key_ms))?.ok_or(Damaged("a chunk is missing"))?;
                unread.insert(row::decode_chunk(row.as_ref())?)
            }
        };
        if chunk.forget(self.now_ms, self.rules) {
            (slot.is_changed, slot.is_stale) = (true, true);
            self.changed.push(slot.key_ms);
        }
        Ok(chunk)
    }

    /// Puts the edges in, unless they are forgotten already.
    pub(super) fn put(&mut self, entry: Entry) -> Result<(), R::Error> {
        if !self.rules.is_over(entry.touched_ms(), self.now_ms) {
            self.change(entry.edge.time_ms)?.put(entry);
        }
        Ok(())
    }

    /// Takes the edges out.
    pub(super) fn take(&mut self, entry: &Entry) -> Result<(), R::Error> {
        Ok(self.change(entry.edge.time_ms)?.take(entry)?)
    }

    /// The chunk with the edges of an instant, to be changed.
    fn change(&mut self, time_ms: i64) -> Result<&mut Chunk, R::Error> {
        let place = self.place_of(time_ms)?;
        let Place::Sealed(index) = place else {
            self.timeline.is_tail_changed = true;
            return Ok(&mut self.timeline.tail);
        };
        self.read(place)?;
        self.changed.push(time_ms);
        let slot = self.timeline.directory_mut().and_then(|directory| directory.slots.get_mut(index));
        let slot = slot.ok_or(Damaged("the directory has no such chunk"))?;
        (slot.is_changed, slot.is_stale) = (true, true);
        Ok(slot.chunk.as_mut().ok_or(Damaged("the directory has no such chunk"))?)
    }

    /// Splits what has grown too long and brings the directory up to date.
    fn settle(mut self) -> Result<(), R::Error> {
        let changed = std::mem::take(&mut self.changed);
        for time_ms in changed {
            if let Place::Sealed(index) = self.place_of(time_ms)?
                && let Timeline { sealed, dropped, .. } = &mut *self.timeline
                && let Some(Sealed { directory: Some(directory), .. }) = sealed.as_deref_mut()
            {
                self.is_directory_changed |= directory.settle(index, self.rules, dropped);
            }
        }
        self.seal()?;
        if self.is_directory_changed
            && let Some(Sealed { directory: Some(directory), summary, .. }) = self.timeline.sealed.as_deref_mut()
        {
            *summary = directory.summary();
            directory.is_changed = true;
            self.timeline.is_tail_changed = true;
            if directory.slots.is_empty() {
                self.timeline.unseal();
            }
        }
        Ok(())
    }

    /// Moves the earlier part of a tail that has grown too long to a chunk.
    fn seal(&mut self) -> Result<(), R::Error> {
        loop {
            let entries = self.timeline.tail.entries().len();
            if entries <= self.rules.chunk_entries_max {
                return Ok(());
            }
            // Mostly the tail alone is read and written, and chunks hardly grow once they are sealed.
            let Some(later) = self.timeline.tail.split_off(entries / 4 * 3) else { return Ok(()) };
            let chunk = std::mem::replace(&mut self.timeline.tail, later);
            let (Some(key_ms), Some(from_ms)) = (chunk.first_ms(), self.timeline.tail.first_ms()) else {
                return Ok(());
            };
            self.directory()?;
            let sealed = self.timeline.sealed.get_or_insert_with(|| {
                Box::new(Sealed { from_ms, summary: Summary::EMPTY, directory: Some(Directory::new(Vec::new())) })
            });
            sealed.from_ms = from_ms;
            if let Some(directory) = &mut sealed.directory {
                directory.slots.push(Slot::sealed(key_ms, chunk));
            }
            self.is_directory_changed = true;
            self.timeline.is_tail_changed = true;
        }
    }
}
