//! A query over all partitions, and what is made of their answers: `query-api/src/scatter.rs` and `routes.rs`.

use crate::ask::{Answer, Ask, Asking};
use crate::folded::Offset;
use crate::{Cluster, Mutation, Partition, ProcessorId};

/// A query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Query {
    /// By partition, the record that must be in the answer.
    pub(crate) min_offsets: Vec<Option<Offset>>,
    /// By partition.
    pub(crate) asks: Vec<Ask>,
}

/// What the partitions answered.
pub(crate) struct Gathered {
    pub(crate) answers: Vec<Answer>,
    pub(crate) missing: Vec<Partition>,
}

/// What the client gets.
pub(crate) enum Response {
    /// 200, without a word of anything missing.
    Whole(Vec<Answer>),
    /// 200, and what is missing by number.
    Partial(Vec<Answer>, Vec<Partition>),
    /// 503 with what is missing by number.
    Unavailable(Vec<Partition>),
}

impl Query {
    pub(crate) fn new(min_offsets: Vec<Option<Offset>>) -> Self {
        let asks = vec![Ask::new(); min_offsets.len()];
        Self { min_offsets, asks }
    }

    pub(crate) fn waits_for(&self, processor: ProcessorId) -> bool {
        self.asks.iter().any(|ask| ask.waits_for(processor))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.asks.iter().all(Ask::is_settled)
    }

    /// What came in, once all partitions have an answer or none in time.
    pub(crate) fn gathered(&self, cluster: &Cluster) -> Option<Gathered> {
        let (mut answers, mut missing) = (vec![], vec![]);
        for (partition, ask) in self.asks.iter().enumerate() {
            match &ask.stage {
                Asking::Answered(all) => answers.extend(all.iter().cloned()),
                Asking::Missing if cluster.mutation == Some(Mutation::MissingLeftOut) => {}
                Asking::Missing => missing.push(partition),
                Asking::Racing { .. } | Asking::AwaitingNews => return None,
            }
        }
        Some(Gathered { answers, missing })
    }
}

impl Gathered {
    pub(crate) fn respond(self, allow_partial: bool) -> Response {
        let Self { answers, missing } = self;
        match (missing.is_empty(), allow_partial) {
            (true, _) => Response::Whole(answers),
            (false, true) => Response::Partial(answers, missing),
            (false, false) => Response::Unavailable(missing),
        }
    }
}
