//! Mistakes that the protocol does not make, to show that the checks would see them.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A partition is served from the moment it is taken.
    ServedBeforeRestored,
    /// The offset goes to disk in another write than the counts it belongs to.
    OffsetWrittenApart,
    /// Of several processors that were asked for one partition, all that answer are counted.
    EveryAnswerCounted,
    /// A partition without an answer is left out of the sum, and not named.
    MissingLeftOut,
    /// Neither processor nor query looks at `min_offset`.
    MinOffsetIgnored,
    /// The group gives two members the same right to a partition.
    RightGivenTwice,
    /// The group waits for ever for a member that is gone.
    GoneMemberKept,
    /// A processor does not tell that it has come to serve a partition.
    ServingNotTold,
}
