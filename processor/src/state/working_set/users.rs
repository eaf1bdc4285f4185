//! The users in memory: found by their ids, listed where they are changed, and let go of where memory is short.
//!
//! Who goes is found by a hand that goes round (the clock algorithm): whoever was not used since it last came by.

use super::days::Days;
use super::prefetch::prefetch;
use super::segments::Segments;
use crate::sessions::Timeline;
use crate::state::counts::Count;
use crate::state::key::{Key, in_order, user_prefix};
use crate::state::session_sums::SessionSum;
use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::SmallVec;
use std::hash::BuildHasher as _;

/// Where a user is, until the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserIndex(u32);

/// The rows of one user that were touched lately.
#[derive(Debug)]
pub(super) struct User {
    /// Its bytes; beside the rest, where nearly all ids have room.
    id: SmallVec<[u8; 24]>,
    pub(super) counts: Days<Count>,
    /// Apart from the rest, since most users have none.
    pub(super) sessions: Option<Box<Days<SessionSum>>>,
    /// By session pair; `None` until it is read.
    pub(super) timelines: Vec<(u8, Option<Timeline>)>,
    hash: u64,
    bytes: usize,
    is_used: bool,
    is_changed: bool,
}

/// How many users ahead of the one that is looked at are fetched into the processor's cache: some more than it fetches in the time
/// that one takes.
const EXPECTED_AHEAD: usize = 8;

/// Some of the users.
#[derive(Debug, Default)]
pub(super) struct Users {
    users: Segments<User>,
    by_id: HashTable<u32>,
    /// Ids are what producers say: the hash must not be theirs to foresee.
    hashes: DefaultHashBuilder,
    changed: Vec<UserIndex>,
    hand: usize,
    bytes: usize,
}

impl Users {
    /// The user with this id, with no rows where it was not there.
    pub(super) fn find(&mut self, id: &str) -> UserIndex {
        let hash = self.hashes.hash_one(id);
        if let Some(found) = self.by_id.find(hash, |at| self.users[place(*at)].id.as_slice() == id.as_bytes()) {
            self.users[place(*found)].is_used = true;
            return UserIndex(*found);
        }
        let index =
            u32::try_from(self.users.len()).expect("a partition's share of memory has no room for so many users");
        self.by_id.insert_unique(hash, index, |at| self.users[place(*at)].hash);
        self.users.push(User {
            id: SmallVec::from_slice(id.as_bytes()),
            counts: Days::default(),
            sessions: None,
            timelines: Vec::new(),
            hash,
            bytes: 0,
            is_used: true,
            is_changed: false,
        });
        self.measure(UserIndex(index));
        UserIndex(index)
    }

    pub(super) fn get(&mut self, UserIndex(index): UserIndex) -> &mut User {
        &mut self.users[place(index)]
    }

    /// Has the user fetched into the cache.
    pub(super) fn expect(&self, UserIndex(index): UserIndex) {
        prefetch(&self.users[place(index)]);
    }

    /// Has what an event changes first fetched into the cache: the last row of counts, and where timelines are. Waits for the user where
    /// they are not there yet.
    pub(super) fn expect_rows(&self, UserIndex(index): UserIndex) {
        let user = &self.users[place(index)];
        user.counts.expect();
        if let Some(timeline) = user.timelines.first() {
            prefetch(timeline);
        }
    }

    /// The user, to be changed.
    pub(super) fn change(&mut self, index: UserIndex) -> &mut User {
        let user = &mut self.users[place(index.0)];
        if !user.is_changed {
            user.is_changed = true;
            self.changed.push(index);
        }
        user
    }

    /// Who was changed since the last time, in the order of their keys, each with what these begin with: users lie anywhere in
    /// memory, and sorting need not go to see them.
    pub(super) fn take_changed(&mut self) -> Vec<(Key, UserIndex)> {
        let Self { users, changed, .. } = self;
        let in_order = in_order(changed.iter().enumerate().map(|(at, index)| {
            if let Some(later) = changed.get(at + EXPECTED_AHEAD) {
                prefetch(&users[place(later.0)]);
            }
            let user = &mut users[place(index.0)];
            user.is_changed = false;
            (user.prefix(), *index)
        }));
        changed.clear();
        in_order
    }

    /// Takes notice that a user is as in the batch that is written next, and of what it has in memory.
    pub(super) fn settle(&mut self, index: UserIndex) {
        let user = self.get(index);
        user.counts.settle();
        if let Some(sessions) = &mut user.sessions {
            sessions.settle();
        }
        self.measure(index);
    }

    /// Takes notice of what a user has in memory.
    pub(super) fn measure(&mut self, UserIndex(index): UserIndex) {
        let user = &mut self.users[place(index)];
        let bytes = user.own_bytes();
        let before = std::mem::replace(&mut user.bytes, bytes);
        self.bytes = self.bytes + user.bytes - before;
    }

    /// About what all of them take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many users there is memory for, whether they are there or not.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.users.room()
    }

    /// Lets go of users until all that is left has `bytes_max`. None of them may be changed; indices are void.
    pub(super) fn shrink_to(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max && self.users.len() > 0 {
            self.hand %= self.users.len();
            if std::mem::take(&mut self.users[self.hand].is_used) {
                self.hand += 1;
            } else {
                self.let_go(self.hand);
            }
        }
    }

    fn let_go(&mut self, at: usize) {
        let last = self.users.len() - 1;
        let (gone, moved) = (self.users[at].hash, self.users[last].hash);
        if let Ok(entry) = self.by_id.find_entry(gone, |index| place(*index) == at) {
            entry.remove();
        }
        if let Some(index) = self.by_id.find_mut(moved, |index| place(*index) == last) {
            *index = u32::try_from(at).unwrap_or(*index);
        }
        self.bytes -= self.users.swap_remove(at).bytes;
    }
}

impl User {
    /// What the keys of its rows begin with.
    pub(super) fn prefix(&self) -> Key {
        user_prefix(&self.id)
    }

    /// About the bytes that this user takes, what leads to it included.
    fn own_bytes(&self) -> usize {
        let timelines = self.timelines.iter().flat_map(|(_, timeline)| timeline);
        size_of::<Self>()
            + 2 * size_of::<u32>()
            + if self.id.spilled() { self.id.capacity() } else { 0 }
            + self.counts.heap_bytes()
            + self.sessions.as_ref().map_or(0, |days| size_of_val(&**days) + days.heap_bytes())
            + self.timelines.capacity() * size_of::<(u8, Option<Timeline>)>()
            + timelines.map(Timeline::heap_bytes).sum::<usize>()
    }
}

fn place(index: u32) -> usize {
    index as usize
}
