//! Which processors serve a partition now: what they said of themselves, as long as they keep saying it.
//!
//! A processor tells about once a second where it answers and how far each of its partitions is. What it said last counts
//! until it says goodbye, or has been silent for a while that others have spoken in; nobody is asked whether it is true, the
//! call will show. Where nobody speaks it is the log that is away: processors go on answering from what they have.

use parking_lot::RwLock;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::util::{BoxCloneSyncService, ServiceExt as _};
use tower::{BoxError, Service};
use track_proto::v1::{Owner, PartitionState};

/// A way to a processor, across the network or inside this process.
pub type Channel = BoxCloneSyncService<http::Request<tonic::body::Body>, http::Response<tonic::body::Body>, BoxError>;

/// Makes the channel for a processor's url. Called from [`Owners::apply`], on the thread of its caller.
pub type Connect = Arc<dyn Fn(&str) -> Result<Channel, String> + Send + Sync>;

/// A [`Channel`] out of a `tonic::transport::Channel` or of a tonic server itself.
pub fn channel<S>(service: S) -> Channel
where
    S: Service<http::Request<tonic::body::Body>, Response = http::Response<tonic::body::Body>>,
    S: Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
{
    BoxCloneSyncService::new(service.map_err(Into::into))
}

/// An instance silent for so long has left without saying so: its channel is closed.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10 * 60);

/// The table of processors.
pub struct Owners {
    connect: Connect,
    table: RwLock<Table>,
    /// Whether the last call that anybody made was not answered.
    is_unanswered: AtomicBool,
    /// Told whenever the table changes.
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct Table {
    instances: HashMap<String, Instance>,
    /// When a partition was last said to be served, by whomever.
    served: HashMap<u32, Instant>,
    /// When anybody last said anything.
    heard: Option<Instant>,
    /// The last one told; kept when everybody leaves, since a log's partition count never changes.
    partition_count: Option<NonZeroU32>,
}

struct Instance {
    url: String,
    /// None while connecting fails; tried again with each heartbeat.
    channel: Option<Channel>,
    heard: Instant,
    serving: Vec<Serving>,
}

struct Serving {
    partition: u32,
    next_offset: u64,
    /// It goes no further there.
    is_leaving: bool,
}

/// Someone who says that it serves a partition.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) instance: String,
    pub(crate) channel: Channel,
    /// When it said so.
    pub(crate) heard: Instant,
    next_offset: u64,
    is_leaving: bool,
}

impl Owners {
    /// An empty table.
    #[must_use]
    pub fn new(connect: Connect) -> Self {
        Self {
            connect,
            table: RwLock::default(),
            is_unanswered: AtomicBool::new(false),
            changes: watch::Sender::new(()),
        }
    }

    /// Takes in what `instance` said of itself at `received`, or with `None` that it has left.
    pub fn apply(&self, instance: String, owner: Option<Owner>, received: Instant) {
        let Some(owner) = owner else {
            let mut table = self.table.write();
            table.instances.remove(&instance);
            table.heard = table.heard.max(Some(received));
            drop(table);
            tracing::info!(instance, "a processor has left");
            self.changes.send_replace(());
            return;
        };
        let channel = self.channel_to(&instance, &owner.url);
        let serving: Vec<_> = owner
            .partitions
            .iter()
            .filter(|status| matches!(status.state(), PartitionState::Serving | PartitionState::Leaving))
            .map(|status| Serving {
                partition: status.partition,
                next_offset: status.as_of.as_ref().map_or(0, |as_of| as_of.next_offset),
                is_leaving: status.state() == PartitionState::Leaving,
            })
            .collect();

        let mut table = self.table.write();
        if let Some(told) = NonZeroU32::new(owner.partition_count) {
            let known = table.partition_count.replace(told);
            if known.is_some_and(|known| known != told) {
                tracing::error!(instance, ?known, %told, "processors disagree on the number of partitions");
            }
        }
        table.instances.retain(|_, known| received.saturating_duration_since(known.heard) < FORGOTTEN_AFTER);
        for Serving { partition, .. } in &serving {
            let last = table.served.entry(*partition).or_insert(received);
            *last = received.max(*last);
        }
        table.instances.insert(instance, Instance { url: owner.url, channel, heard: received, serving });
        table.heard = table.heard.max(Some(received));
        drop(table);
        self.changes.send_replace(());
    }

    /// Since when who was heard still counts: so long before the last word of anybody.
    pub(crate) fn heard_since(&self, stale_after: Duration) -> Instant {
        let last = self.table.read().heard.map_or_else(Instant::now, |heard| heard.min(Instant::now()));
        last.checked_sub(stale_after).unwrap_or(last)
    }

    /// Takes in what became of a call.
    pub(crate) fn note_call(&self, is_answered: bool) {
        self.is_unanswered.store(!is_answered, Ordering::Relaxed);
    }

    /// Whether a processor can be expected to answer: some have been heard of lately, or, where nobody is heard, the last
    /// one that was asked was there.
    pub(crate) fn can_answer(&self, stale_after: Duration) -> bool {
        !self.served(before_now(stale_after)).is_empty() || !self.is_unanswered.load(Ordering::Relaxed)
    }

    /// Tells of every change from here on.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The channel there is to that url, or a new one.
    fn channel_to(&self, instance: &str, url: &str) -> Option<Channel> {
        if let Some(known) = self.table.read().instances.get(instance)
            && known.url == url
            && known.channel.is_some()
        {
            return known.channel.clone();
        }
        match (self.connect)(url) {
            Ok(channel) => {
                tracing::info!(instance, url, "found a processor");
                Some(channel)
            }
            Err(error) => {
                tracing::warn!(instance, url, error, "can't reach a processor");
                None
            }
        }
    }

    /// How many partitions the log has; `None` until a processor has said so.
    pub(crate) fn partition_count(&self) -> Option<NonZeroU32> {
        self.table.read().partition_count
    }

    /// Those heard of at or after `heard_since` that serve a partition, the freshest first.
    pub(crate) fn candidates(&self, partition: u32, heard_since: Instant) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for (name, instance) in &self.table.read().instances {
            let Some(channel) = instance.channel.as_ref().filter(|_| instance.heard >= heard_since) else { continue };
            let serving = instance.serving.iter().filter(|serving| serving.partition == partition);
            candidates.extend(serving.map(|Serving { next_offset, is_leaving, .. }| Candidate {
                instance: name.clone(),
                channel: channel.clone(),
                heard: instance.heard,
                next_offset: *next_offset,
                is_leaving: *is_leaving,
            }));
        }
        // Who goes on is as far and knows that nothing has come since.
        let freshest = |candidate: &Candidate| (Reverse(candidate.next_offset), candidate.is_leaving);
        candidates.sort_by(|a, b| freshest(a).cmp(&freshest(b)).then_with(|| a.instance.cmp(&b.instance)));
        candidates
    }

    /// Whether anybody said at or after `since` that it serves a partition.
    pub(crate) fn was_served(&self, partition: u32, since: Instant) -> bool {
        self.table.read().served.get(&partition).is_some_and(|last| *last >= since)
    }

    /// The partitions that someone heard of at or after `heard_since` serves.
    pub(crate) fn served(&self, heard_since: Instant) -> BTreeSet<u32> {
        let table = self.table.read();
        let fresh = table.instances.values().filter(|known| known.channel.is_some() && known.heard >= heard_since);
        fresh.flat_map(|known| known.serving.iter().map(|serving| serving.partition)).collect()
    }
}

/// That long ago.
pub(crate) fn before_now(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_sub(duration).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use track_proto::v1::{AsOf, PartitionStatus};

    /// Which urls were connected to, in order; those with "unreachable" in them fail.
    fn owners() -> (Owners, Arc<Mutex<Vec<String>>>) {
        let connected = Arc::new(Mutex::new(vec![]));
        let log = connected.clone();
        let connect: Connect = Arc::new(move |url| {
            log.lock().push(url.to_owned());
            if url.contains("unreachable") {
                return Err("no route".into());
            }
            Ok(channel(tower::service_fn(|_| async { Ok::<_, BoxError>(http::Response::default()) })))
        });
        (Owners::new(connect), connected)
    }

    fn status(partition: u32, state: PartitionState, next_offset: u64) -> PartitionStatus {
        let as_of = Some(AsOf { next_offset, ..AsOf::default() });
        PartitionStatus { partition, state: state.into(), as_of, ..PartitionStatus::default() }
    }

    fn owner(url: &str, serving: &[(u32, u64)]) -> Owner {
        let partitions = serving.iter().map(|(p, offset)| status(*p, PartitionState::Serving, *offset)).collect();
        Owner { url: url.into(), partitions, partition_count: 4, ..Owner::default() }
    }

    fn names(owners: &Owners, partition: u32, heard_since: Instant) -> Vec<String> {
        owners.candidates(partition, heard_since).into_iter().map(|candidate| candidate.instance).collect()
    }

    #[test]
    fn the_freshest_comes_first() {
        let (owners, _) = owners();
        let now = Instant::now();
        owners.apply("a".into(), Some(owner("http://a", &[(0, 5), (1, 9)])), now);
        owners.apply("b".into(), Some(owner("http://b", &[(0, 7), (1, 8)])), now);
        assert_eq!(names(&owners, 0, now), ["b", "a"]);
        assert_eq!(names(&owners, 1, now), ["a", "b"]);
        assert_eq!(names(&owners, 2, now), Vec::<String>::new());
        assert_eq!(owners.served(now), BTreeSet::from([0, 1]));
        owners.apply("a".into(), Some(owner("http://a", &[(0, 8)])), now);
        assert_eq!(names(&owners, 0, now), ["a", "b"]);
        assert_eq!(names(&owners, 1, now), ["b"]);
    }

    #[test]
    fn who_leaves_serves_until_it_is_gone_and_who_is_further_comes_first() {
        let (owners, _) = owners();
        let now = Instant::now();
        let partitions = vec![status(0, PartitionState::Leaving, 9)];
        owners.apply("old".into(), Some(Owner { partitions, ..owner("http://old", &[]) }), now);
        assert_eq!((names(&owners, 0, now), owners.served(now)), (vec!["old".to_owned()], BTreeSet::from([0])));
        for reached in [9, 10] {
            owners.apply("young".into(), Some(owner("http://young", &[(0, reached)])), now);
            assert_eq!(names(&owners, 0, now), ["young", "old"]);
        }
        owners.apply("old".into(), Some(owner("http://old", &[])), now);
        assert_eq!(names(&owners, 0, now), ["young"]);
    }

    #[test]
    fn who_restores_does_not_serve() {
        let (owners, _) = owners();
        let now = Instant::now();
        let partitions = vec![status(0, PartitionState::Restoring, 9), status(1, PartitionState::Serving, 1)];
        owners.apply("a".into(), Some(Owner { partitions, ..owner("http://a", &[]) }), now);
        assert_eq!(owners.served(now), BTreeSet::from([1]));
        assert_eq!(names(&owners, 0, now), Vec::<String>::new());
    }

    #[test]
    fn who_is_silent_or_has_left_is_not_asked() {
        let (owners, _) = owners();
        let now = Instant::now();
        owners.apply("old".into(), Some(owner("http://old", &[(0, 9)])), now);
        let later = now + Duration::from_secs(1);
        owners.apply("new".into(), Some(owner("http://new", &[(0, 3)])), later);
        assert_eq!(names(&owners, 0, now), ["old", "new"]);
        assert_eq!(names(&owners, 0, later), ["new"]);
        let news = owners.news();
        owners.apply("new".into(), None, later);
        assert!(news.has_changed().unwrap());
        assert!(owners.was_served(0, later) && !owners.was_served(0, later + Duration::from_secs(1)));
        assert_eq!(names(&owners, 0, now), ["old"]);
        assert_eq!(owners.served(later), BTreeSet::new());
        assert_eq!(owners.partition_count(), NonZeroU32::new(4));
    }

    #[test]
    fn silence_is_told_by_others_words() {
        let (owners, _) = owners();
        let (stale_after, now) = (Duration::from_secs(5), Instant::now());
        let at = |seconds: u64| now.checked_sub(Duration::from_secs(100 - seconds)).unwrap();
        let asked = || names(&owners, 0, owners.heard_since(stale_after));
        owners.apply("a".into(), Some(owner("http://a", &[(0, 9)])), at(0));
        owners.apply("b".into(), Some(owner("http://b", &[(0, 3)])), at(4));
        // Both are silent for a minute and a half, as is the board.
        assert_eq!(asked(), ["a", "b"]);
        owners.apply("b".into(), Some(owner("http://b", &[(0, 4)])), at(6));
        assert_eq!(asked(), ["b"]);
        owners.apply("c".into(), None, at(12));
        assert_eq!(asked(), Vec::<String>::new());
    }

    #[test]
    fn where_nobody_is_heard_a_call_tells_whether_anybody_is_there() {
        let (owners, _) = owners();
        let (stale_after, now) = (Duration::from_secs(5), Instant::now());
        owners.apply("a".into(), Some(owner("http://a", &[(0, 9)])), now - Duration::from_secs(60));
        assert!(owners.can_answer(stale_after));
        owners.note_call(false);
        assert!(!owners.can_answer(stale_after));
        owners.note_call(true);
        assert!(owners.can_answer(stale_after));
        owners.note_call(false);
        owners.apply("a".into(), Some(owner("http://a", &[(0, 9)])), now);
        assert!(owners.can_answer(stale_after));
    }

    #[test]
    fn a_channel_is_made_once_a_url() {
        let (owners, connected) = owners();
        let now = Instant::now();
        for url in ["http://a", "http://a", "http://b", "http://b", "http://unreachable", "http://unreachable"] {
            owners.apply("a".into(), Some(owner(url, &[(0, 1)])), now);
        }
        assert_eq!(*connected.lock(), ["http://a", "http://b", "http://unreachable", "http://unreachable"]);
        assert_eq!(names(&owners, 0, now), Vec::<String>::new());
        owners.apply("a".into(), None, now);
        owners.apply("a".into(), Some(owner("http://a", &[(0, 1)])), now);
        assert_eq!(connected.lock().len(), 5);
        assert_eq!(names(&owners, 0, now), ["a"]);
    }

    #[test]
    fn the_long_silent_are_forgotten() {
        let (owners, _) = owners();
        let now = Instant::now();
        owners.apply("gone".into(), Some(owner("http://gone", &[(0, 1)])), now);
        owners.apply("here".into(), Some(owner("http://here", &[(0, 1)])), now + FORGOTTEN_AFTER);
        assert_eq!(names(&owners, 0, now), ["here"]);
    }

    #[test]
    fn no_partition_count_is_taken_for_zero_partitions() {
        let (owners, _) = owners();
        assert_eq!(owners.partition_count(), None);
        owners.apply("a".into(), Some(Owner { partition_count: 0, ..owner("http://a", &[]) }), Instant::now());
        assert_eq!(owners.partition_count(), None);
    }
}
