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
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::util::{BoxCloneSyncService, ServiceExt as _};
use tower::{BoxError, Service};
use track_proto::owners::SILENT_AFTER;
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

/// An instance silent for so much longer than it is believed has left without saying so: its channel is closed.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10 * 60);

/// The table of processors.
pub struct Owners {
    connect: Connect,
    /// What was said before counts for nothing: the board can be read, so who is silent from then on is not there.
    made: Instant,
    table: RwLock<Table>,
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
    /// The last time that nobody had for long.
    silence: Option<Silence>,
    /// The last one told; kept when everybody leaves, since a log's partition count never changes.
    partition_count: Option<NonZeroU32>,
}

/// Nobody was heard between these two.
#[derive(Clone, Copy)]
struct Silence {
    began: Instant,
    ended: Instant,
}

struct Instance {
    url: String,
    /// None while connecting fails; tried again with each heartbeat.
    channel: Option<Channel>,
    heard: Instant,
    /// When a call last found nobody there; none since it was heard, or has answered.
    absent: Option<Instant>,
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
    is_absent: bool,
}

/// What became of a call, as far as it says something of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It has answered, be it with a refusal.
    There,
    /// The connection failed, or nothing came in time.
    Absent,
}

impl Table {
    /// Since when who was heard still counts: until it has been silent for a while in which others have spoken.
    fn heard_since(&self, made: Instant, now: Instant) -> Instant {
        let last = self.heard.map_or(now, |heard| heard.min(now));
        // A silence of all has just ended: each has a while to speak up.
        let last =
            self.silence.filter(|silence| last < silence.ended + SILENT_AFTER).map_or(last, |silence| silence.began);
        last.max(made).checked_sub(SILENT_AFTER).unwrap_or(last)
    }

    /// Takes in that somebody has said something.
    fn hear(&mut self, received: Instant, made: Instant) {
        if let Some(began) = self.heard.filter(|heard| *heard >= made && received > *heard + SILENT_AFTER) {
            self.silence = Some(Silence { began, ended: received });
        }
        self.heard = self.heard.max(Some(received));
    }
}

impl Instance {
    /// The way to it, where it may be there.
    fn channel(&self, heard_since: Instant, now: Instant) -> Option<&Channel> {
        // One that is neither heard nor there is not asked again for a while.
        let is_gone = self.is_absent(now) && !is_recent(self.heard, now);
        self.channel.as_ref().filter(|_| self.heard >= heard_since && !is_gone)
    }

    fn is_absent(&self, now: Instant) -> bool {
        self.absent.is_some_and(|absent| is_recent(absent, now))
    }
}

/// Whether that was not long ago.
fn is_recent(then: Instant, now: Instant) -> bool {
    now.saturating_duration_since(then) <= SILENT_AFTER
}

impl Owners {
    /// An empty table.
    #[must_use]
    pub fn new(connect: Connect) -> Self {
        Self { connect, table: RwLock::default(), made: Instant::now(), changes: watch::Sender::new(()) }
    }

    /// Takes in what `instance` said of itself at `received`, or with `None` that it has left.
    pub fn apply(&self, instance: String, owner: Option<Owner>, received: Instant) {
        let Some(owner) = owner else {
            let mut table = self.table.write();
            table.instances.remove(&instance);
            table.hear(received, self.made);
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
        table.hear(received, self.made);
        let heard_since = table.heard_since(self.made, received);
        table.instances.retain(|_, known| heard_since.saturating_duration_since(known.heard) < FORGOTTEN_AFTER);
        for Serving { partition, .. } in &serving {
            let last = table.served.entry(*partition).or_insert(received);
            *last = received.max(*last);
        }
        table.instances.insert(instance, Instance { url: owner.url, channel, heard: received, absent: None, serving });
        drop(table);
        self.changes.send_replace(());
    }

    /// Takes in what a call to a processor has shown.
    pub(crate) fn note_call(&self, instance: &str, seen: Seen, now: Instant) {
        // Nearly always, and no reason to keep others from reading.
        let is_there = |instance: &Instance| instance.absent.is_none();
        if seen == Seen::There && self.table.read().instances.get(instance).is_none_or(is_there) {
            return;
        }
        if let Some(instance) = self.table.write().instances.get_mut(instance) {
            instance.absent = (seen == Seen::Absent).then_some(now);
        }
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

    /// Those that say that they serve a partition and may be there: the freshest first, and whom a call did not find last.
    pub(crate) fn candidates(&self, partition: u32, now: Instant) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let table = self.table.read();
        let heard_since = table.heard_since(self.made, now);
        for (name, instance) in &table.instances {
            let Some(channel) = instance.channel(heard_since, now) else { continue };
            let serving = instance.serving.iter().filter(|serving| serving.partition == partition);
            candidates.extend(serving.map(|Serving { next_offset, is_leaving, .. }| Candidate {
                instance: name.clone(),
                channel: channel.clone(),
                heard: instance.heard,
                next_offset: *next_offset,
                is_leaving: *is_leaving,
                is_absent: instance.is_absent(now),
            }));
        }
        drop(table);
        // Who goes on is as far and knows that nothing has come since.
        let order = |candidate: &Candidate| (candidate.is_absent, Reverse(candidate.next_offset), candidate.is_leaving);
        candidates.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.instance.cmp(&b.instance)));
        candidates
    }

    /// Whether anybody has said lately that it serves a partition.
    pub(crate) fn was_served_lately(&self, partition: u32, now: Instant) -> bool {
        self.table.read().served.get(&partition).is_some_and(|last| is_recent(*last, now))
    }

    /// The partitions that someone serves who may be there.
    pub(crate) fn served(&self, now: Instant) -> BTreeSet<u32> {
        let table = self.table.read();
        let heard_since = table.heard_since(self.made, now);
        let there = table.instances.values().filter(|known| known.channel(heard_since, now).is_some());
        there.flat_map(|known| known.serving.iter().map(|serving| serving.partition)).collect()
    }
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

    fn names(owners: &Owners, partition: u32, now: Instant) -> Vec<String> {
        owners.candidates(partition, now).into_iter().map(|candidate| candidate.instance).collect()
    }

    fn hear(owners: &Owners, instance: &str, serving: &[(u32, u64)], now: Instant) {
        owners.apply(instance.into(), Some(owner(&format!("http://{instance}"), serving)), now);
    }

    const NOBODY: [&str; 0] = [];

    #[test]
    fn the_freshest_comes_first() {
        let ((owners, _), now) = (owners(), Instant::now());
        hear(&owners, "a", &[(0, 5), (1, 9)], now);
        hear(&owners, "b", &[(0, 7), (1, 8)], now);
        assert_eq!(names(&owners, 0, now), ["b", "a"]);
        assert_eq!(names(&owners, 1, now), ["a", "b"]);
        assert_eq!(names(&owners, 2, now), NOBODY);
        assert_eq!(owners.served(now), BTreeSet::from([0, 1]));
        hear(&owners, "a", &[(0, 8)], now);
        assert_eq!(names(&owners, 0, now), ["a", "b"]);
        assert_eq!(names(&owners, 1, now), ["b"]);
    }

    #[test]
    fn who_leaves_serves_until_it_is_gone_and_who_is_further_comes_first() {
        let ((owners, _), now) = (owners(), Instant::now());
        let partitions = vec![status(0, PartitionState::Leaving, 9)];
        owners.apply("old".into(), Some(Owner { partitions, ..owner("http://old", &[]) }), now);
        assert_eq!((names(&owners, 0, now), owners.served(now)), (vec!["old".to_owned()], BTreeSet::from([0])));
        for reached in [9, 10] {
            hear(&owners, "young", &[(0, reached)], now);
            assert_eq!(names(&owners, 0, now), ["young", "old"]);
        }
        hear(&owners, "old", &[], now);
        assert_eq!(names(&owners, 0, now), ["young"]);
    }

    #[test]
    fn who_restores_does_not_serve() {
        let ((owners, _), now) = (owners(), Instant::now());
        let partitions = vec![status(0, PartitionState::Restoring, 9), status(1, PartitionState::Serving, 1)];
        owners.apply("a".into(), Some(Owner { partitions, ..owner("http://a", &[]) }), now);
        assert_eq!(owners.served(now), BTreeSet::from([1]));
        assert_eq!(names(&owners, 0, now), NOBODY);
    }

    #[test]
    fn silence_is_told_by_others_words() {
        let ((owners, _), mut now) = (owners(), Instant::now());
        hear(&owners, "a", &[(0, 9)], now);
        now += Duration::from_secs(4);
        hear(&owners, "b", &[(0, 3)], now);
        assert_eq!(names(&owners, 0, now), ["a", "b"]);
        now += Duration::from_secs(2);
        assert_eq!(names(&owners, 0, now), ["a", "b"]);
        hear(&owners, "b", &[(0, 4)], now);
        assert_eq!(names(&owners, 0, now), ["b"]);
        assert_eq!(owners.served(now), BTreeSet::from([0]));
        let news = owners.news();
        owners.apply("b".into(), None, now);
        assert!(news.has_changed().unwrap() && owners.was_served_lately(0, now));
        assert_eq!((names(&owners, 0, now), owners.served(now)), (vec![], BTreeSet::new()));
        now += Duration::from_secs(6);
        assert!(!owners.was_served_lately(0, now));
        assert_eq!(owners.partition_count(), NonZeroU32::new(4));
    }

    #[test]
    fn where_all_are_silent_each_is_asked_and_has_a_while_to_speak_again() {
        let ((owners, _), mut now) = (owners(), Instant::now());
        hear(&owners, "a", &[(0, 9)], now);
        hear(&owners, "b", &[(0, 3)], now);
        now += Duration::from_secs(FORGOTTEN_AFTER.as_secs() * 2);
        assert_eq!(names(&owners, 0, now), ["a", "b"]);
        hear(&owners, "b", &[(0, 3)], now);
        assert_eq!(names(&owners, 0, now), ["a", "b"]);
        now += Duration::from_secs(4);
        hear(&owners, "b", &[(0, 4)], now);
        assert_eq!(names(&owners, 0, now), ["a", "b"]);
        now += Duration::from_secs(2);
        hear(&owners, "b", &[(0, 5)], now);
        assert_eq!(names(&owners, 0, now), ["b"]);
    }

    #[test]
    fn whom_a_call_did_not_find_is_asked_last_and_who_is_silent_too_not_at_all() {
        let ((owners, _), mut now) = (owners(), Instant::now());
        hear(&owners, "a", &[(0, 9), (1, 9)], now);
        hear(&owners, "b", &[(0, 3)], now);
        owners.note_call("a", Seen::Absent, now);
        assert_eq!(names(&owners, 0, now), ["b", "a"]);
        owners.note_call("a", Seen::There, now);
        assert_eq!(names(&owners, 0, now), ["a", "b"]);
        now += Duration::from_secs(60);
        owners.note_call("a", Seen::Absent, now);
        assert_eq!((names(&owners, 0, now), owners.served(now)), (vec!["b".to_owned()], BTreeSet::from([0])));
        // Again after a while; and as soon as it says that it is there.
        now += Duration::from_secs(6);
        assert_eq!(names(&owners, 0, now), ["a", "b"]);
        owners.note_call("a", Seen::Absent, now);
        assert_eq!(names(&owners, 0, now), ["b"]);
        hear(&owners, "a", &[(0, 9)], now);
        assert_eq!(names(&owners, 0, now), ["a", "b"]);
    }

    #[test]
    fn what_was_said_before_we_listened_counts_for_nothing() {
        let ((owners, _), now) = (owners(), Instant::now());
        let long_ago = now.checked_sub(Duration::from_secs(60)).unwrap();
        owners.apply("dead".into(), Some(owner("http://dead", &[(0, 9)])), long_ago);
        assert_eq!((names(&owners, 0, now), owners.served(now)), (vec![], BTreeSet::new()));
        hear(&owners, "here", &[(0, 3)], now);
        assert_eq!(names(&owners, 0, now), ["here"]);
    }

    #[test]
    fn a_channel_is_made_once_a_url() {
        let (owners, connected) = owners();
        let now = Instant::now();
        for url in ["http://a", "http://a", "http://b", "http://b", "http://unreachable", "http://unreachable"] {
            owners.apply("a".into(), Some(owner(url, &[(0, 1)])), now);
        }
        assert_eq!(*connected.lock(), ["http://a", "http://b", "http://unreachable", "http://unreachable"]);
        assert_eq!(names(&owners, 0, now), NOBODY);
        owners.apply("a".into(), None, now);
        owners.apply("a".into(), Some(owner("http://a", &[(0, 1)])), now);
        assert_eq!(connected.lock().len(), 5);
        assert_eq!(names(&owners, 0, now), ["a"]);
    }

    #[test]
    fn the_long_silent_are_forgotten() {
        let ((owners, _), mut now) = (owners(), Instant::now());
        hear(&owners, "gone", &[(0, 1)], now);
        for _ in 0..=(FORGOTTEN_AFTER + SILENT_AFTER).as_secs() / 4 {
            now += Duration::from_secs(4);
            hear(&owners, "here", &[(0, 1)], now);
        }
        assert_eq!(owners.table.read().instances.len(), 1);
    }

    #[test]
    fn no_partition_count_is_taken_for_zero_partitions() {
        let ((owners, _), now) = (owners(), Instant::now());
        assert_eq!(owners.partition_count(), None);
        owners.apply("a".into(), Some(Owner { partition_count: 0, ..owner("http://a", &[]) }), now);
        assert_eq!(owners.partition_count(), None);
    }
}
