//! A list in pieces: it grows without moving what is in it, and gives back the pieces that it no longer fills.

use std::ops::{Index, IndexMut};

/// How many of the list each piece holds. At most one piece is reserved and not in use: a `Vec` would have reserved for as many as there
/// are, and moved all of them.
const SEGMENT_LEN: usize = 64;

/// The list.
#[derive(Debug)]
pub(super) struct Segments<T> {
    /// All full but the last, which is not empty.
    segments: Vec<Vec<T>>,
}

impl<T> Segments<T> {
    pub(super) fn len(&self) -> usize {
        self.segments.last().map_or(0, |last| (self.segments.len() - 1) * SEGMENT_LEN + last.len())
    }

    pub(super) fn push(&mut self, item: T) {
        match self.segments.last_mut() {
            Some(last) if last.len() < SEGMENT_LEN => last.push(item),
            _ => {
                let mut segment = Vec::with_capacity(SEGMENT_LEN);
                segment.push(item);
                self.segments.push(segment);
            }
        }
    }

    /// Takes one out, and puts the last one in its place.
    pub(super) fn swap_remove(&mut self, at: usize) -> T {
        let segment = self.segments.last_mut().expect("it is not empty");
        let last = segment.pop().expect("the last piece is not empty");
        if segment.is_empty() {
            self.segments.pop();
        }
        if at == self.len() { last } else { std::mem::replace(&mut self[at], last) }
    }

    /// For how many there is memory, whether they are there or not.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.segments.iter().map(Vec::capacity).sum()
    }
}

impl<T> Default for Segments<T> {
    fn default() -> Self {
        Self { segments: Vec::new() }
    }
}

impl<T> Index<usize> for Segments<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.segments[at / SEGMENT_LEN][at % SEGMENT_LEN]
    }
}

impl<T> IndexMut<usize> for Segments<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.segments[at / SEGMENT_LEN][at % SEGMENT_LEN]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_a_list(removed in prop::collection::vec(any::<prop::sample::Index>(), 0..300), count in 1..200_usize) {
            let mut list: Vec<usize> = (0..count).collect();
            let mut segments = Segments::default();
            list.iter().for_each(|item| segments.push(*item));
            for (next, at) in removed.into_iter().enumerate() {
                if !list.is_empty() {
                    let at = at.index(list.len());
                    prop_assert_eq!(segments.swap_remove(at), list.swap_remove(at));
                }
                if next % 3 == 0 {
                    list.push(next);
                    segments.push(next);
                }
                prop_assert_eq!(segments.len(), list.len());
                prop_assert!((0..list.len()).all(|at| segments[at] == list[at]));
                prop_assert_eq!(segments.room(), list.len().next_multiple_of(SEGMENT_LEN));
            }
        }
    }
}
