//! The board `track.owners`: what processors say of themselves, and how the query service takes it.

use bytes::Bytes;
use prost::Message as _;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use track_log::Bulletin;
use track_proto::clock::Clock;
use track_proto::owners::TOLD_EVERY;
use track_proto::v1::Owner;

/// How often a processor looks whether what it serves has changed.
const LOOKED_EVERY: Duration = Duration::from_millis(100);
/// How long a goodbye may take.
const GOODBYE_WITHIN: Duration = Duration::from_secs(5);
/// A message sent longer ago is history read from the board, unless the sender's clock is wrong.
const HISTORY_AFTER_MS: i64 = 60_000;
/// History is read in one go; live messages of one processor are about a second apart.
const LIVE_APART: Duration = Duration::from_millis(300);

/// Tells what `owner` says once a second and whenever it serves something else, until `stop`; then says goodbye.
pub(super) async fn tell(board: Arc<dyn Bulletin>, owner: impl Fn() -> Owner, stop: CancellationToken) {
    let mut interval = tokio::time::interval(LOOKED_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut told, mut failing) = (None, false);
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        let owner = owner();
        let serving = serving(&owner);
        if told.as_ref().is_some_and(|(at, what): &(Instant, _)| at.elapsed() < TOLD_EVERY && *what == serving) {
            continue;
        }
        let value = owner.encode_to_vec().into();
        told = Some((Instant::now(), serving));
        let Some(posted) = stop.run_until_cancelled(board.post(owner.instance, Some(value))).await else { break };
        match &posted {
            Err(error) if !failing => {
                tracing::warn!(%error, "can't tell the query service where partitions are served");
            }
            Ok(()) if failing => tracing::info!("telling the query service again where partitions are served"),
            _ => {}
        }
        failing = posted.is_err();
    }
    let goodbye = tokio::time::timeout(GOODBYE_WITHIN, board.post(owner().instance, None)).await;
    if !matches!(goodbye, Ok(Ok(()))) {
        tracing::warn!("left without saying goodbye; the query service will find nobody here");
    }
}

/// Which partitions are there, in which state, and whether there will be more: what makes a difference to others.
fn serving(owner: &Owner) -> (Vec<(u32, i32)>, bool) {
    (owner.partitions.iter().map(|status| (status.partition, status.state)).collect(), owner.stopping)
}

/// Hands on what comes from the board: who says what of itself, `None` being a goodbye, and when that counts as heard.
pub(super) fn reader(
    mut hear: impl FnMut(String, Option<Owner>, Instant) + Send + 'static,
    clock: Clock,
) -> Box<dyn FnMut(String, Option<Bytes>) + Send> {
    let mut last_received = HashMap::new();
    Box::new(move |instance, value| {
        let Some(value) = value else {
            last_received.remove(&instance);
            return hear(instance, None, Instant::now());
        };
        match Owner::decode(value) {
            Ok(owner) => {
                let now = Instant::now();
                let before = last_received.insert(instance.clone(), now);
                let heard = heard_at(before, now, clock().saturating_sub(owner.sent_at_ms));
                hear(instance, Some(owner), heard);
            }
            Err(error) => tracing::warn!(instance, %error, "what a processor says of itself can't be read"),
        }
    })
}

/// When a message counts as heard: now, but for history, which was heard when it was sent.
///
/// Only the sender's clock says how old a message is, and a wrong clock must not make a processor unheard of for ever: what
/// comes at the pace of live messages is live whatever it says.
fn heard_at(received_before: Option<Instant>, now: Instant, age_ms: i64) -> Instant {
    let live = received_before.is_some_and(|before| now.saturating_duration_since(before) >= LIVE_APART);
    match u64::try_from(age_ms) {
        Ok(age) if age_ms > HISTORY_AFTER_MS && !live => {
            // Instants need not reach back that far: one that is long stale is as good.
            let long_ago = Duration::from_millis(age).min(Duration::from_secs(60));
            now.checked_sub(long_ago).unwrap_or(now)
        }
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use futures::future::BoxFuture;
    use tokio::sync::mpsc;
    use track_log::{AppendError, BulletinGuard, LogError};
    use track_proto::v1::{PartitionState, PartitionStatus};

    /// A board that hands on what is posted.
    struct Posted(mpsc::UnboundedSender<(String, Option<Owner>)>);

    impl Bulletin for Posted {
        fn post(&self, key: String, value: Option<Bytes>) -> BoxFuture<'static, Result<(), AppendError>> {
            let owner = value.map(|value| Owner::decode(value).unwrap());
            self.0.send((key, owner)).unwrap();
            std::future::ready(Ok(())).boxed()
        }

        fn follow(&self, _: Box<dyn FnMut(String, Option<Bytes>) + Send>) -> Result<BulletinGuard, LogError> {
            Err(LogError::Closed)
        }
    }

    fn owner(state: PartitionState) -> Owner {
        let partitions = vec![PartitionStatus { partition: 7, state: state.into(), ..PartitionStatus::default() }];
        Owner { instance: "a".into(), partitions, ..Owner::default() }
    }

    #[tokio::test]
    async fn a_processor_tells_again_and_again_what_it_serves_and_says_goodbye() {
        let (board, mut posted) = mpsc::unbounded_channel();
        let (board, stop) = (Arc::new(Posted(board)), CancellationToken::new());
        let state = Arc::new(parking_lot::Mutex::new(PartitionState::Restoring));
        let now = state.clone();
        let telling = tokio::spawn(tell(board, move || owner(*now.lock()), stop.clone()));

        for _ in 0..2 {
            let told = posted.recv().await.unwrap();
            assert_eq!(told, ("a".to_owned(), Some(owner(PartitionState::Restoring))));
        }
        *state.lock() = PartitionState::Serving;
        let (_, told) = posted.recv().await.unwrap();
        assert_eq!(told, Some(owner(PartitionState::Serving)));

        stop.cancel();
        telling.await.unwrap();
        assert_eq!(posted.recv().await, Some(("a".to_owned(), None)));
        assert_eq!(posted.recv().await, None);
    }

    #[test]
    fn history_is_not_news() {
        let now = Instant::now() + Duration::from_secs(3_600);
        let a_second = Duration::from_secs(1);
        assert_eq!(heard_at(None, now, 500), now);
        assert_eq!(heard_at(None, now, -3_600_000), now, "a clock that is ahead");
        assert!(heard_at(None, now, 3_600_000) <= now - Duration::from_secs(60));
        assert!(heard_at(Some(now), now, 3_600_000) < now, "the next line of the same history");
        assert_eq!(heard_at(Some(now - a_second), now, 3_600_000), now, "a clock that is behind");
    }
}
