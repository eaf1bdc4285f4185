//! Looks at the whole state of partitions that are ours: their digests, and every row of one. Reads a snapshot on a thread of
//! its own, holds little of it in memory, and gives up where nobody waits for the answer or the partition moves on.

use crate::digest::{self, StateDigest};
use crate::error::InspectError;
use crate::moment::Moment;
use crate::partition::Owned;
use crate::{Processor, Shared};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use track_log::{Offset, Partition};
use track_proto::v1::{AsOf, RowHashes};

/// How many messages of rows wait to be taken.
const MESSAGES_WAITING_MAX: usize = 4;
/// How long a message waits: a snapshot keeps from deletion what it shows, and nobody may keep it for ever.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);

impl Processor {
    /// The digest of one partition, or of all that are ours, restoring ones included; at an exact offset where one is given,
    /// which is waited for. Dropping the future ends the work.
    ///
    /// # Errors
    /// [`InspectError`], of the first partition that can't be looked at.
    pub async fn digests(
        &self,
        partition: Option<Partition>,
        at_offset: Option<Offset>,
    ) -> Result<Vec<StateDigest>, InspectError> {
        let partitions = match partition {
            Some(partition) => vec![partition],
            None => self.shared.status().iter().map(|status| status.partition).collect(),
        };
        let mut digests = Vec::with_capacity(partitions.len());
        // One after the other: the fold needs the disk, too.
        for partition in partitions {
            digests.push(digest(&self.shared, partition, at_offset).await?.1);
        }
        Ok(digests)
    }
}

/// The digest of a partition, and how far it was.
pub(crate) async fn digest(
    shared: &Shared,
    partition: Partition,
    at_offset: Option<Offset>,
) -> Result<(AsOf, StateDigest), InspectError> {
    let moment = Moment::reach(owned(shared, partition)?, at_offset).await?;
    let owned = Arc::clone(&moment.owned);
    let gone = CancellationToken::new();
    let _gone_with_the_caller = gone.clone().drop_guard();
    let work = move || {
        let is_wanted = || !gone.is_cancelled() && !owned.is_going();
        let digest = moment.look(|whole| digest::digest(whole, partition, owned.spans(), is_wanted))?;
        let digest = digest.ok_or(InspectError::Moving { partition })?;
        Ok((digest.as_of(owned.log_end()), digest))
    };
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(InspectError::Unreadable { partition }))
}

/// Every live row of a partition, in order of family and key. Ends early where the receiver is dropped.
pub(crate) async fn rows(
    shared: &Shared,
    partition: Partition,
    at_offset: Option<Offset>,
) -> Result<mpsc::Receiver<Result<RowHashes, InspectError>>, InspectError> {
    let moment = Moment::reach(owned(shared, partition)?, at_offset).await?;
    let (sender, rows) = mpsc::channel(MESSAGES_WAITING_MAX);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let owned = Arc::clone(&moment.owned);
        let send = |rows| match runtime.block_on(send(&sender, &owned, rows)) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        let log_end = Some(owned.log_end());
        if let Err(error) = moment.look(|whole| digest::hash_rows(whole, owned.spans(), log_end, send)) {
            // Where it has no room, the caller sees by the missing last message that something is wrong.
            let _ = sender.try_send(Err(error));
        }
    });
    Ok(rows)
}

/// Whether the rows were taken.
async fn send(sender: &mpsc::Sender<Result<RowHashes, InspectError>>, owned: &Owned, rows: RowHashes) -> bool {
    tokio::select! {
        sent = sender.send_timeout(Ok(rows), TAKEN_WITHIN) => sent.is_ok(),
        () = owned.going() => false,
    }
}

fn owned(shared: &Shared, partition: Partition) -> Result<Arc<Owned>, InspectError> {
    shared.owned(partition).ok_or(InspectError::NotHere { partition })
}
