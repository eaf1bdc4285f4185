//! The first row that tells two states apart.

use super::states::{Rows, States};
use anyhow::bail;
use futures::stream::StreamExt as _;
use std::cmp::Ordering;
use std::vec;
use track_processor::describe_row;
use track_proto::v1::RowHash;

/// What tells two states apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// The records before the offset were not the same, or not appended at the same time.
    StreamTime { in_a_ms: i64, in_b_ms: i64 },
    /// A row that only A has.
    OnlyInA { row: RowHash },
    /// A row that only B has.
    OnlyInB { row: RowHash },
    /// A row that has another value in each.
    Value { row: RowHash },
    /// Whatever it was has been overwritten since.
    NoLonger,
}

impl Difference {
    /// In words, for a line.
    pub(super) fn describe(&self, a: &States, b: &States) -> String {
        let name = |row: &RowHash| format!("{}: {}", row.family, describe_row(&row.family, &row.key));
        match self {
            Self::StreamTime { in_a_ms, in_b_ms } => {
                format!("the stream time is {} s in {a} and {} s in {b}", in_a_ms / 1000, in_b_ms / 1000)
            }
            Self::OnlyInA { row } => format!("{}: missing in {b}", name(row)),
            Self::OnlyInB { row } => format!("{}: missing in {a}", name(row)),
            Self::Value { row } => format!("{}: another value", name(row)),
            Self::NoLonger => "the digests differed at an earlier offset, and no row does at this one".to_owned(),
        }
    }
}

/// The first difference of two states, both in order of family and key.
pub(super) async fn first(in_a: Rows, in_b: Rows) -> anyhow::Result<Option<Difference>> {
    let (mut in_a, mut in_b) = (Reader::new(in_a), Reader::new(in_b));
    let (mut row_a, mut row_b) = tokio::try_join!(in_a.next(), in_b.next())?;
    loop {
        let (a, b) = match (row_a, row_b) {
            (None, None) => return Ok(None),
            (Some(row), None) => return Ok(Some(Difference::OnlyInA { row })),
            (None, Some(row)) => return Ok(Some(Difference::OnlyInB { row })),
            (Some(a), Some(b)) => (a, b),
        };
        match (&a.family, &a.key).cmp(&(&b.family, &b.key)) {
            Ordering::Less => return Ok(Some(Difference::OnlyInA { row: a })),
            Ordering::Greater => return Ok(Some(Difference::OnlyInB { row: b })),
            Ordering::Equal if a.hash != b.hash => return Ok(Some(Difference::Value { row: a })),
            Ordering::Equal => (row_a, row_b) = (in_a.next().await?, in_b.next().await?),
        }
    }
}

/// Rows one by one, out of messages with some each.
struct Reader {
    messages: Rows,
    rows: vec::IntoIter<RowHash>,
    /// The last message is here.
    is_last: bool,
}

impl Reader {
    fn new(messages: Rows) -> Self {
        Self { messages, rows: Vec::new().into_iter(), is_last: false }
    }

    async fn next(&mut self) -> anyhow::Result<Option<RowHash>> {
        loop {
            if let Some(row) = self.rows.next() {
                return Ok(Some(row));
            }
            if self.is_last {
                return Ok(None);
            }
            let Some(message) = self.messages.next().await.transpose()? else { bail!("the rows were cut off") };
            self.is_last = message.last;
            self.rows = message.rows.into_iter();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use track_proto::v1::RowHashes;

    fn row(family: &'static str, key: &'static str, value: &'static str) -> RowHash {
        RowHash { family: family.into(), key: key.into(), hash: value.into() }
    }

    /// Rows in messages of this many.
    fn rows(rows: &[RowHash], size: usize) -> Rows {
        let mut messages: Vec<_> =
            rows.chunks(size).map(|rows| Ok(RowHashes { as_of: None, rows: rows.to_vec(), last: false })).collect();
        messages.push(Ok(RowHashes { last: true, ..RowHashes::default() }));
        stream::iter(messages).boxed()
    }

    #[tokio::test]
    async fn the_first_row_that_differs_is_found() {
        let a = [row("f", "a", "1"), row("f", "c", "1"), row("g", "a", "1")];
        assert_eq!(first(rows(&a, 1), rows(&a, 2)).await.unwrap(), None);
        let with = |at: usize, row: RowHash| {
            let mut b = a.to_vec();
            b.insert(at, row);
            b
        };
        for b in [with(0, row("e", "z", "1")), with(1, row("f", "b", "1")), with(3, row("g", "b", "1"))] {
            let extra = b.iter().find(|row| !a.contains(row)).unwrap().clone();
            let found = first(rows(&a, 2), rows(&b, 3)).await.unwrap();
            assert_eq!(found, Some(Difference::OnlyInB { row: extra.clone() }));
            let found = first(rows(&b, 3), rows(&a, 1)).await.unwrap();
            assert_eq!(found, Some(Difference::OnlyInA { row: extra }));
        }
        let mut b = a.to_vec();
        b[1].hash = "2".into();
        b.truncate(2);
        let found = first(rows(&a, 1), rows(&b, 1)).await.unwrap();
        assert_eq!(found, Some(Difference::Value { row: a[1].clone() }));
    }

    #[tokio::test]
    async fn rows_that_were_cut_off_are_not_taken_for_missing() {
        let whole = rows(&[row("f", "a", "1"), row("f", "b", "1")], 1);
        let cut = stream::iter([Ok(RowHashes { rows: vec![row("f", "a", "1")], ..RowHashes::default() })]).boxed();
        let error = first(whole, cut).await.unwrap_err().to_string();
        assert!(error.contains("cut off"), "{error}");
    }
}
