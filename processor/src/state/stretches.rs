//! The inside of a stretch's row: what each of its 32 UTC days holds, with the stamp of that day's own last change.
//!
//! A stretch is read as one row where its days would be 32; each of them still ends by itself, as its quarters do. The row is
//! over with its youngest day.
//!
//! Layout: the stamp of the youngest day, then, ascending, repeated (day: u8 0–31, how many seconds its stamp is before the row's,
//! then the numbers of the value, all of these LEB128 varints).

use super::key::show_day;
use super::quarters::{Sums, read_varint, write_sums, write_varint};
use super::ttl::{Stamp, StreamSeconds};

/// How many days are a stretch.
pub(crate) const DAYS: usize = 32;

/// The stretch of a day, and which day of it that is.
pub(crate) fn stretch_of(day: i32) -> (i32, u8) {
    (day >> 5, (day & 31).to_le_bytes()[0])
}

/// The day `at` of a stretch.
pub(crate) fn day_in(stretch: i32, at: u8) -> i32 {
    (stretch << 5) | i32::from(at)
}

/// A stretch, for people.
pub(crate) fn show_stretch(stretch: i32) -> String {
    format!("days {} to {}", show_day(day_in(stretch, 0)), show_day(day_in(stretch, 31)))
}

/// One day of a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day<S> {
    /// Which, 0–31.
    pub(crate) at: u8,
    pub(crate) touched: StreamSeconds,
    pub(crate) sums: S,
}

/// The days of one stretch that hold something, ordered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stretch<S>(Vec<Day<S>>);

impl<S> Default for Stretch<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S: Sums> Stretch<S> {
    /// Puts a day in the place of what was there of it.
    pub(crate) fn put(&mut self, day: Day<S>) {
        match self.0.binary_search_by_key(&day.at, |day| day.at) {
            Ok(found) => self.0[found] = day,
            Err(gap) => self.0.insert(gap, day),
        }
    }

    /// Forgets the days that are over by their stamps.
    pub(crate) fn forget(&mut self, is_over: impl Fn(StreamSeconds) -> bool) {
        self.0.retain(|day| !is_over(day.touched));
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The row's value.
    pub(crate) fn write(&self, value: &mut Vec<u8>) {
        let youngest = self.0.iter().map(|day| day.touched).max().unwrap_or_default();
        value.clear();
        Stamp::write(youngest, value);
        for day in &self.0 {
            value.push(day.at);
            write_varint(u64::from(youngest - day.touched), value);
            write_sums(day.sums, value);
        }
    }

    /// `None` where that is no value of a row.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let (youngest, days) = Stamp::split(value)?;
        read_days(youngest, days).collect::<Option<_>>().map(Self)
    }
}

/// A row's value without the days that are over by their stamps; `None` where that is no value of a row.
pub(crate) fn alive<S: Sums>(value: &[u8], is_over: impl Fn(StreamSeconds) -> bool) -> Option<Vec<u8>> {
    let mut stretch = Stretch::<S>::read(value)?;
    stretch.forget(is_over);
    let mut alive = Vec::new();
    stretch.write(&mut alive);
    Some(alive)
}

/// The days behind the stamp of a row's value, ascending; ends after a `None` where they can't be read.
pub(crate) fn read_days<S: Sums>(youngest: StreamSeconds, mut bytes: &[u8]) -> impl Iterator<Item = Option<Day<S>>> {
    let mut least = 0;
    std::iter::from_fn(move || {
        let (at, rest) = bytes.split_first()?;
        bytes = rest;
        let day = read_day(*at, youngest, &mut bytes).filter(|_| least <= *at);
        least = at.saturating_add(1);
        if day.is_none() {
            bytes = &[];
        }
        Some(day)
    })
}

fn read_day<S: Sums>(at: u8, youngest: StreamSeconds, bytes: &mut &[u8]) -> Option<Day<S>> {
    let older_seconds = StreamSeconds::try_from(read_varint(bytes)?).ok()?;
    let touched = youngest.checked_sub(older_seconds)?;
    let sums = S::read(|| read_varint(bytes))?;
    (usize::from(at) < DAYS).then_some(Day { at, touched, sums })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::counts::Count;
    use crate::state::session_sums::SessionSum;
    use proptest::prelude::*;

    fn stretch<S: Sums>(days: &[(u8, StreamSeconds, S)]) -> Stretch<S> {
        let mut stretch = Stretch::default();
        days.iter().for_each(|(at, touched, sums)| stretch.put(Day { at: *at, touched: *touched, sums: *sums }));
        stretch
    }

    fn value<S: Sums>(stretch: &Stretch<S>) -> Vec<u8> {
        let mut value = Vec::new();
        stretch.write(&mut value);
        value
    }

    proptest! {
        #[test]
        fn every_day_is_of_one_stretch(day: i32) {
            let (stretch, at) = stretch_of(day);
            prop_assert!(usize::from(at) < DAYS);
            prop_assert_eq!(day_in(stretch, at), day);
            prop_assert!(day == i32::MAX || (stretch, at) < stretch_of(day + 1));
        }

        #[test]
        fn counts_survive_their_encoding(
            days in prop::collection::vec((0..32_u8, any::<StreamSeconds>(), any::<u64>()), 0..50),
        ) {
            let days: Vec<_> = days.iter().map(|(at, touched, count)| (*at, *touched, Count::of(*count))).collect();
            let stretch = stretch(&days);
            prop_assert_eq!(Stretch::read(&value(&stretch)), Some(stretch));
        }

        #[test]
        fn sessions_survive_their_encoding(
            days in prop::collection::vec((0..32_u8, any::<StreamSeconds>(), 0..1_u64 << 40), 0..50),
        ) {
            let sum = |ms: u64| SessionSum::one(ms);
            let days: Vec<_> = days.iter().map(|(at, touched, ms)| (*at, *touched, sum(*ms))).collect();
            let stretch = stretch(&days);
            prop_assert_eq!(Stretch::read(&value(&stretch)), Some(stretch));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Stretch::<Count>::read(&bytes);
            let _ = Stretch::<SessionSum>::read(&bytes);
        }
    }

    #[test]
    fn a_day_goes_by_its_own_stamp_and_the_row_by_its_youngest() {
        let mut days =
            stretch(&[(3, 100, Count::of(1)), (1, 200, Count::of(2)), (2, 150, Count::of(3)), (3, 120, Count::of(4))]);
        assert_eq!(Stamp::split(&value(&days)).unwrap().0, 200);
        days.forget(|touched| touched <= 120);
        assert_eq!(days, stretch(&[(1, 200, Count::of(2)), (2, 150, Count::of(3))]));
        days.forget(|touched| touched == 200);
        assert_eq!(Stamp::split(&value(&days)).unwrap().0, 150);
    }

    #[test]
    fn what_no_row_says_is_not_read() {
        let read = |days: &[u8]| Stretch::<Count>::read(&[&100_u32.to_be_bytes(), days].concat()).is_some();
        assert!(read(&[]) && read(&[0, 100, 1, 31, 0, 0]));
        assert!(!read(&[32, 0, 1]), "there is no such day");
        assert!(!read(&[5, 0, 1, 5, 0, 1]) && !read(&[5, 0, 1, 4, 0, 1]), "out of order");
        assert!(!read(&[5, 101, 1]), "touched before 1970");
        assert!(!read(&[5]) && !read(&[5, 0]) && !read(&[5, 0, 1, 6]), "cut off");
        assert!(Stretch::<Count>::read(&[0; 3]).is_none(), "no stamp");
    }
}
