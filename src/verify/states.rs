//! Where states are: in a folder that nobody uses, or in a processor that goes on folding.

use crate::flags::Side;
use anyhow::{Context as _, anyhow};
use futures::stream::{self, BoxStream, StreamExt as _};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::{Code, Status};
use track_log::{Offset, Partition};
use track_processor::{StoredError, StoredStates};
use track_proto::v1::partitions_client::PartitionsClient;
use track_proto::v1::{DigestRequest, RowHashes, RowsRequest, StatusRequest};
use track_query_api::owners::{Channel, Connect};

/// How many messages of rows are read ahead from a folder.
const READ_AHEAD: usize = 4;

/// The states of one side.
pub(super) enum States {
    /// In a folder.
    Folder(PathBuf, Arc<StoredStates>),
    /// In a processor at this url.
    Processor(String, PartitionsClient<Channel>),
}

/// What makes two states equal at one offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) stream_time_ms: i64,
    rows: u64,
    digest: Vec<u8>,
}

/// The rows of a state, in order of family and key.
pub(super) type Rows = BoxStream<'static, anyhow::Result<RowHashes>>;

/// Why a side does not say what it is at an offset.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is past the offset.
    Passed,
    /// It is not there yet, and won't be soon.
    NotReached,
    /// It can't be asked.
    Failed(anyhow::Error),
}

impl States {
    pub(super) fn open(side: &Side, connect: &Connect) -> anyhow::Result<Self> {
        Ok(match side {
            Side::Folder(folder) => Self::Folder(folder.clone(), Arc::new(StoredStates::open(folder)?)),
            Side::Url(url) => {
                let channel = connect(url).map_err(|error| anyhow!("{url}: {error}"))?;
                Self::Processor(url.clone(), PartitionsClient::new(channel))
            }
        })
    }

    /// Whether it stays at its offset.
    pub(super) fn is_still(&self) -> bool {
        matches!(self, Self::Folder(..))
    }

    /// The partitions it has, and how far each is.
    pub(super) async fn offsets(&self) -> anyhow::Result<BTreeMap<Partition, Offset>> {
        match self {
            Self::Folder(_, states) => {
                let offset = |partition: &Partition| Ok((*partition, states.next_offset(*partition)?));
                states.partitions().iter().map(offset).collect()
            }
            Self::Processor(url, client) => {
                let status = client.clone().status(StatusRequest {}).await;
                let status = status.map_err(|status| anyhow!("{url}: {}", status.message()))?.into_inner();
                let offset = |as_of: Option<track_proto::v1::AsOf>| as_of.map_or(0, |as_of| as_of.next_offset);
                Ok(status.partitions.into_iter().map(|status| (status.partition, offset(status.as_of))).collect())
            }
        }
    }

    /// How far one partition is.
    pub(super) async fn offset(&self, partition: Partition) -> anyhow::Result<Offset> {
        let offsets = self.offsets().await?;
        offsets.get(&partition).copied().with_context(|| format!("partition {partition} is no longer in {self}"))
    }

    /// The digest of a partition that has exactly the records before `offset`.
    pub(super) async fn digest(&self, partition: Partition, offset: Offset) -> Result<Digest, Refusal> {
        match self {
            Self::Folder(_, states) => {
                let states = Arc::clone(states);
                let digest = tokio::task::spawn_blocking(move || {
                    check_offset(&states, partition, offset)?;
                    states.digest(partition).map_err(|error| Refusal::Failed(error.into()))
                });
                let digest = digest.await.map_err(|error| Refusal::Failed(error.into()))??;
                let stream_time_ms = i64::from(digest.stream_time_s) * 1000;
                Ok(Digest { stream_time_ms, rows: digest.rows, digest: digest.digest.to_vec() })
            }
            Self::Processor(url, client) => {
                let request = DigestRequest { partition, at_offset: Some(offset) };
                let answer = client.clone().digest(request).await.map_err(|status| refusal(url, &status))?;
                let answer = answer.into_inner();
                let stream_time_ms = answer.as_of.map_or(0, |as_of| as_of.stream_time_ms);
                Ok(Digest { stream_time_ms, rows: answer.rows, digest: answer.digest.into() })
            }
        }
    }

    /// The rows of a partition that has exactly the records before `offset`.
    pub(super) async fn rows(&self, partition: Partition, offset: Offset) -> Result<Rows, Refusal> {
        match self {
            Self::Folder(_, states) => {
                check_offset(states, partition, offset)?;
                Ok(read_rows(Arc::clone(states), partition))
            }
            Self::Processor(url, client) => {
                let request = RowsRequest { partition, at_offset: Some(offset) };
                let rows = client.clone().rows(request).await.map_err(|status| refusal(url, &status))?;
                let url = url.clone();
                let failed = move |status: Status| anyhow!("{url}: {}", status.message());
                Ok(rows.into_inner().map(move |rows| rows.map_err(&failed)).boxed())
            }
        }
    }
}

impl fmt::Display for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder, _) => write!(f, "{}", folder.display()),
            Self::Processor(url, _) => write!(f, "{url}"),
        }
    }
}

fn check_offset(states: &StoredStates, partition: Partition, wanted: Offset) -> Result<(), Refusal> {
    match states.next_offset(partition).map_err(|error| Refusal::Failed(error.into()))? {
        at if at == wanted => Ok(()),
        at if at > wanted => Err(Refusal::Passed),
        _ => Err(Refusal::NotReached),
    }
}

fn refusal(url: &str, status: &Status) -> Refusal {
    match status.code() {
        Code::OutOfRange => Refusal::Passed,
        Code::DeadlineExceeded => Refusal::NotReached,
        _ => Refusal::Failed(anyhow!("{url}: {}", status.message())),
    }
}

/// Reads rows on a thread of its own, which ends where nobody takes them.
fn read_rows(states: Arc<StoredStates>, partition: Partition) -> Rows {
    let (sender, mut rows) = mpsc::channel::<Result<RowHashes, StoredError>>(READ_AHEAD);
    tokio::task::spawn_blocking(move || {
        let send = |rows| match sender.blocking_send(Ok(rows)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        };
        if let Err(error) = states.hash_rows(partition, send) {
            // Who has gone away need not know.
            let _ = sender.blocking_send(Err(error));
        }
    });
    stream::poll_fn(move |context| rows.poll_recv(context)).map(|rows| Ok(rows?)).boxed()
}
