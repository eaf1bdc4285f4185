//! The inside of a day's row: what each quarter of an hour holds, in order, and nothing for an empty one.
//!
//! Layout: repeated (quarter: u8 0–95, then the numbers of the value as LEB128 varints).

use smallvec::SmallVec;

/// What a quarter can hold: some numbers that add up.
pub(crate) trait Sums: Copy + Default + PartialEq + std::fmt::Debug {
    /// The numbers on disk; none is negative there.
    type Numbers: AsRef<[u64]>;

    fn numbers(self) -> Self::Numbers;
    /// Reads the numbers through `next`, which is `None` at the end of the value.
    fn read(next: impl FnMut() -> Option<u64>) -> Option<Self>;
    fn add(&mut self, other: Self);
    /// Whether nothing is left: such a quarter is not stored.
    fn is_empty(self) -> bool;
}

/// The quarters of one day, ordered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quarters<S>(SmallVec<[(u8, S); 2]>);

impl<S> Default for Quarters<S> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<S: Sums> Quarters<S> {
    pub(crate) fn add(&mut self, quarter: u8, sums: S) {
        match self.0.binary_search_by_key(&quarter, |(at, _)| *at) {
            Ok(found) => {
                if let Some((_, there)) = self.0.get_mut(found) {
                    there.add(sums);
                }
            }
            Err(gap) => self.0.insert(gap, (quarter, sums)),
        }
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        for (quarter, sums) in &other.0 {
            self.add(*quarter, *sums);
        }
    }

    /// Bytes that it has beside its own size.
    pub(crate) fn heap_bytes(&self) -> usize {
        if self.0.spilled() { self.0.capacity() * size_of::<(u8, S)>() } else { 0 }
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, S)> + '_ {
        self.0.iter().copied()
    }

    /// The whole day.
    pub(crate) fn total(&self) -> S {
        let mut total = S::default();
        for (_, sums) in &self.0 {
            total.add(*sums);
        }
        total
    }

    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        for (quarter, sums) in self.0.iter().filter(|(_, sums)| !sums.is_empty()) {
            into.push(*quarter);
            write_sums(*sums, into);
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        read_quarters(bytes).collect::<Option<_>>().map(Self)
    }
}

/// The quarters of a row, ascending; ends after a `None` where they can't be read.
pub(crate) fn read_quarters<S: Sums>(mut bytes: &[u8]) -> impl Iterator<Item = Option<(u8, S)>> {
    let mut least = 0;
    std::iter::from_fn(move || {
        let (quarter, rest) = bytes.split_first()?;
        bytes = rest;
        let sums = S::read(|| read_varint(&mut bytes)).filter(|_| (least..96).contains(quarter));
        least = quarter.saturating_add(1);
        if sums.is_none() {
            bytes = &[];
        }
        Some(sums.map(|sums| (*quarter, sums)))
    })
}

/// Writes the numbers of `sums` alone.
pub(crate) fn write_sums<S: Sums>(sums: S, into: &mut Vec<u8>) {
    for number in sums.numbers().as_ref() {
        write_varint(*number, into);
    }
}

pub(crate) fn write_varint(number: u64, into: &mut Vec<u8>) {
    prost::encoding::encode_varint(number, into);
}

#[inline]
pub(crate) fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    // Which nearly all numbers are.
    if let [small @ 0..=0x7f, rest @ ..] = *bytes {
        *bytes = rest;
        return Some(u64::from(*small));
    }
    prost::encoding::decode_varint(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::counts::Count;
    use crate::state::session_sums::SessionSum;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_survive_their_encoding(parts in proptest::collection::vec((0..96_u8, 1..u64::from(u32::MAX)), 0..200)) {
            let mut quarters = Quarters::default();
            for (quarter, count) in &parts {
                quarters.add(*quarter, Count::of(*count));
            }
            let mut bytes = Vec::new();
            quarters.encode(&mut bytes);
            prop_assert_eq!(Quarters::decode(&bytes), Some(quarters.clone()));
            let sum: u64 = parts.iter().map(|(_, count)| count).sum();
            prop_assert_eq!(quarters.total().numbers(), [sum]);
        }

        #[test]
        fn sessions_survive_their_encoding(parts in proptest::collection::vec((0..96_u8, 0..1_u64 << 32), 0..200)) {
            let mut quarters = Quarters::default();
            for (quarter, duration_ms) in &parts {
                quarters.add(*quarter, SessionSum::one(*duration_ms));
            }
            let mut bytes = Vec::new();
            quarters.encode(&mut bytes);
            prop_assert_eq!(Quarters::decode(&bytes), Some(quarters));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Quarters::<Count>::decode(&bytes);
            let _ = Quarters::<SessionSum>::decode(&bytes);
        }
    }
}
