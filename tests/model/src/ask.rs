//! One answer of one partition: `query-api/src/ask.rs`. The freshest candidate first, another where that fails or takes
//! long, and whoever says that it serves the partition once all have failed.

use crate::folded::Offset;
use crate::processor::{Life, Owned};
use crate::system::System;
use crate::{Cluster, Mutation, Partition, ProcessorId};

/// How one partition of a query is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ask {
    pub(crate) stage: Asking,
    /// Who is not asked again until it has said that it is there.
    failed: Vec<ProcessorId>,
    /// Something was heard since the last candidates were chosen.
    has_news: bool,
    has_asked: bool,
}

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asking {
    /// Those `asked` have not answered yet; the `rest` follows.
    Racing { asked: Vec<ProcessorId>, rest: Vec<ProcessorId>, is_retry: bool },
    /// All have failed; the partition may be on its way to another processor.
    AwaitingNews,
    /// One answer, where the protocol is right.
    Answered(Vec<Answer>),
    /// There is none in time.
    Missing,
}

/// What a processor answers for a partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Answer {
    pub(crate) partition: Partition,
    /// The partition as who answered held it.
    pub(crate) owned: Owned,
    /// The partition was another's by then, who had more of it.
    pub(crate) is_from_old_owner: bool,
    pub(crate) way: Way,
}

/// How it was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// Nobody else was being asked at the time.
    Alone,
    /// While another was being asked, too.
    Hedged,
    /// After all had failed, from who spoke up since.
    Retried,
}

/// What comes of a call.
pub(crate) enum Reply {
    Answer(Owned),
    Refused,
    /// Nothing so far: the processor is frozen, or waits for `min_offset`.
    None,
}

impl Ask {
    pub(crate) fn new() -> Self {
        Self { stage: Asking::AwaitingNews, failed: vec![], has_news: false, has_asked: false }
    }

    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.stage, Asking::Answered(_) | Asking::Missing)
    }

    /// Whether a word of this processor would make it a candidate again.
    pub(crate) fn waits_for(&self, processor: ProcessorId) -> bool {
        !self.is_settled() && self.failed.contains(&processor)
    }

    /// Who is being asked.
    pub(crate) fn asked(&self) -> &[ProcessorId] {
        match &self.stage {
            Asking::Racing { asked, .. } => asked,
            _ => &[],
        }
    }

    pub(crate) fn can_hedge(&self) -> bool {
        matches!(&self.stage, Asking::Racing { rest, .. } if !rest.is_empty())
    }

    /// Asks the next candidate as well.
    pub(crate) fn hedge(&mut self) {
        if let Asking::Racing { asked, rest, .. } = &mut self.stage {
            asked.push(rest.remove(0));
            asked.sort_unstable();
        }
    }

    /// Chooses from `candidates`, and asks the first.
    fn race(&mut self, mut candidates: Vec<ProcessorId>, was_served: bool) {
        self.has_news = false;
        candidates.retain(|candidate| !self.failed.contains(candidate));
        let is_retry = self.has_asked;
        self.stage = match candidates.split_first() {
            Some((first, rest)) => {
                self.has_asked = true;
                Asking::Racing { asked: vec![*first], rest: rest.to_vec(), is_retry }
            }
            None if !is_retry && !was_served => Asking::Missing,
            None => Asking::AwaitingNews,
        };
        self.failed.extend(candidates);
        self.failed.sort_unstable();
    }

    /// A call has failed: the next candidate is asked. True where there is none and nobody else is being asked.
    fn fail(&mut self, processor: ProcessorId) -> bool {
        let Asking::Racing { asked, rest, .. } = &mut self.stage else { return false };
        asked.retain(|other| *other != processor);
        if rest.is_empty() {
            return asked.is_empty();
        }
        self.hedge();
        false
    }
}

impl System {
    /// Begins to ask for a partition, or begins again.
    pub(crate) fn race(&mut self, partition: Partition) {
        let (candidates, was_served) = (self.candidates(partition), self.was_served[partition]);
        if let Some(query) = &mut self.query {
            query.asks[partition].race(candidates, was_served);
        }
    }

    /// There is news: those who wait for some choose again, and who is `there` may be asked again.
    pub(crate) fn ask_again(&mut self, there: Option<ProcessorId>) {
        let Some(query) = &mut self.query else { return };
        let mut waiting = vec![];
        for (partition, ask) in query.asks.iter_mut().enumerate().filter(|(_, ask)| !ask.is_settled()) {
            ask.failed.retain(|failed| Some(*failed) != there);
            ask.has_news = true;
            if ask.stage == Asking::AwaitingNews {
                waiting.push(partition);
            }
        }
        waiting.into_iter().for_each(|partition| self.race(partition));
    }

    /// What a processor says when it is asked now: `processor/src/serve.rs`.
    pub(crate) fn reply(
        &self,
        cluster: &Cluster,
        processor: ProcessorId,
        partition: Partition,
        min_offset: Option<Offset>,
    ) -> Reply {
        let asked = &self.processors[processor];
        match (asked.life, asked.owned[partition]) {
            (Life::Frozen, _) => Reply::None,
            (Life::Running, Some(owned)) if owned.answers() => {
                let is_ignored = cluster.mutation == Some(Mutation::MinOffsetIgnored);
                let is_reached = min_offset.is_none_or(|min_offset| owned.folded.next_offset > min_offset);
                match is_reached || is_ignored {
                    true => Reply::Answer(owned),
                    // It will never be there.
                    false if owned.is_leaving() => Reply::Refused,
                    false => Reply::None,
                }
            }
            _ => Reply::Refused,
        }
    }

    /// Takes what comes of a call.
    pub(crate) fn take_reply(&mut self, cluster: &Cluster, partition: Partition, processor: ProcessorId) {
        let Some(query) = &self.query else { return };
        let min_offset = query.min_offsets[partition];
        let Asking::Racing { asked, is_retry, .. } = &query.asks[partition].stage else { return };
        let way = match (is_retry, asked.len()) {
            (true, _) => Way::Retried,
            (false, 1) => Way::Alone,
            (false, _) => Way::Hedged,
        };
        let answer = |processor| match self.reply(cluster, processor, partition, min_offset) {
            Reply::Answer(owned) => {
                let mut others = self.processors.iter().filter_map(|other| other.owned[partition]);
                let is_behind = others.any(|other| other.folded.next_offset > owned.folded.next_offset);
                let is_from_old_owner = is_behind && self.lingers(cluster, processor, partition);
                Some(Answer { partition, owned, is_from_old_owner, way })
            }
            Reply::Refused | Reply::None => None,
        };
        let Some(first) = answer(processor) else { return self.fail_call(partition, processor) };
        let mut answers = vec![first];
        if cluster.mutation == Some(Mutation::EveryAnswerCounted) {
            answers.extend(asked.iter().filter(|other| **other != processor).filter_map(|other| answer(*other)));
        }
        self.settle(partition, Asking::Answered(answers));
    }

    /// A call has failed. Where it was the last one, whatever was heard meanwhile is tried at once.
    pub(crate) fn fail_call(&mut self, partition: Partition, processor: ProcessorId) {
        let Some(query) = &mut self.query else { return };
        let ask = &mut query.asks[partition];
        if !ask.fail(processor) {
            return;
        }
        if ask.has_news {
            self.race(partition);
        } else {
            ask.stage = Asking::AwaitingNews;
        }
    }

    /// That is all that becomes of a partition's ask.
    pub(crate) fn settle(&mut self, partition: Partition, stage: Asking) {
        if let Some(query) = &mut self.query {
            query.asks[partition] = Ask { stage, ..Ask::new() };
        }
    }
}
