//! Takes part in a consumer group: partitions come and go, and each is read from where the member says.

use super::admission::{Admission, Change, generation};
use super::assignment::{Assignment, Consumer};
use super::client::{self, Config, Context, refused};
use super::hearing::Hearing;
use super::share::Question;
use crate::{LogError, Member, Offset, Partition, Subscribe, Subscription};
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use track_proto::topics;

/// How long a poll waits for a first record; also how soon the thread sees that it is to end.
const POLL_WAIT: Duration = Duration::from_millis(50);
/// The same while a partition is paused: its reader may have made room.
const POLL_WAIT_HELD_UP: Duration = Duration::from_millis(5);
/// Records taken before they are handed on.
const BATCH: usize = 4096;
/// Between leaving a group for an error and joining again.
const REJOIN_AFTER: Duration = Duration::from_secs(3);
/// What dropping a subscription waits for.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// How a group agrees on who reads what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// The brokers decide (KIP-848; Kafka 4.0 and newer).
    #[default]
    Consumer,
    /// The members decide, cooperatively and stickily; any Kafka.
    Classic,
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "consumer" => Ok(Self::Consumer),
            "classic" => Ok(Self::Classic),
            _ => Err(format!("there is no group protocol {name}: it is consumer or classic")),
        }
    }
}

/// A consumer group on the topic of events.
pub struct KafkaGroup {
    config: Config,
    topic: String,
    group: String,
    instance_id: Option<String>,
    protocol: Protocol,
}

impl KafkaGroup {
    /// A group by its name. With an instance id the member is static: for as long as a restart takes (the group's
    /// session timeout), its partitions stay its own.
    #[must_use]
    pub fn new(config: &Config, group: &str, instance_id: Option<String>, protocol: Protocol) -> Self {
        let (topic, group) = (topics::EVENTS.to_owned(), group.to_owned());
        Self { config: config.clone(), topic, group, instance_id, protocol }
    }

    /// The group reads another topic.
    #[must_use]
    pub fn on_topic(mut self, topic: &str) -> Self {
        topic.clone_into(&mut self.topic);
        self
    }

    fn client(&self) -> Result<ClientConfig, LogError> {
        let mut client = self.config.reader()?;
        client.set("group.id", &self.group);
        if let Some(instance_id) = &self.instance_id {
            client.set("group.instance.id", instance_id);
        }
        match self.protocol {
            Protocol::Consumer => client.set("group.protocol", "consumer"),
            Protocol::Classic => {
                client.set("group.protocol", "classic");
                client.set("partition.assignment.strategy", "cooperative-sticky")
            }
        };
        Ok(client)
    }
}

impl Subscribe for KafkaGroup {
    fn subscribe(&self, member: Arc<dyn Member>) -> Result<Box<dyn Subscription>, LogError> {
        client::expect_topic(&client::asker(&self.config)?, &self.topic)?;
        let shared = Arc::new(Shared::default());
        let (done, ended) = mpsc::channel();
        let membership = Membership {
            client: self.client()?,
            topic: self.topic.clone(),
            group: self.group.clone(),
            protocol: self.protocol,
            member,
            shared: Arc::clone(&shared),
        };
        let first = membership.join()?;
        std::thread::Builder::new()
            .name("kafka-group".to_owned())
            .spawn(move || {
                membership.run(first);
                drop(done);
            })
            .map_err(client::no_thread)?;
        Ok(Box::new(GroupSubscription { shared, ended: Mutex::new(ended) }))
    }
}

/// What the subscription tells its thread.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    hints: Mutex<BTreeMap<Partition, Offset>>,
}

struct GroupSubscription {
    shared: Arc<Shared>,
    /// Disconnected when the thread has left.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Subscription for GroupSubscription {
    fn commit_hint(&self, applied: &[(Partition, Offset)]) {
        self.shared.hints.lock().extend(applied.iter().copied());
    }

    fn close(&self, within: Duration) {
        self.shared.stop.store(true, Ordering::Release);
        // Past the deadline the thread goes on leaving by itself.
        let _ = self.ended.lock().recv_timeout(within);
    }
}

impl Drop for GroupSubscription {
    fn drop(&mut self) {
        self.close(CLOSE_WITHIN);
    }
}

/// The thread's side: joins, polls, and joins again where the brokers threw it out for good.
struct Membership {
    client: ClientConfig,
    topic: String,
    group: String,
    protocol: Protocol,
    member: Arc<dyn Member>,
    shared: Arc<Shared>,
}

impl Membership {
    fn join(&self) -> Result<Consumer, LogError> {
        let assignment = Assignment::new(self.topic.clone(), Arc::clone(&self.member));
        let consumer: Consumer = self.client.create_with_context(Context::new(assignment)).map_err(refused)?;
        consumer.subscribe(&[&self.topic]).map_err(|error| LogError::Kafka(error.to_string()))?;
        Ok(consumer)
    }

    fn run(&self, first: Consumer) {
        let mut joined = Some(first);
        loop {
            if let Some(consumer) = joined.take() {
                if let Err(reason) = self.take_part(&consumer) {
                    tracing::error!("out of the consumer group, joining again soon: {reason}");
                    self.member.left_out(&reason.to_string());
                }
                self.commit(&consumer);
                consumer.context().role.give_up();
                // Leaves the group; may hang, which is why `close` has a deadline.
                drop(consumer);
            }
            let rejoin_at = Instant::now() + REJOIN_AFTER;
            while !self.is_stopping() && Instant::now() < rejoin_at {
                std::thread::park_timeout(POLL_WAIT);
            }
            if self.is_stopping() {
                return;
            }
            joined = self.join().inspect_err(|error| tracing::error!("{error}")).ok();
        }
    }

    /// Polls until told to stop, or until an error that this membership does not survive.
    fn take_part(&self, consumer: &Consumer) -> Result<(), LogError> {
        let assignment = &consumer.context().role;
        let (mut admission, mut doubtful) = (Admission::default(), false);
        let (mut hearing, mut question) = (Hearing::default(), None);
        while !self.is_stopping() {
            let mut wait = if assignment.is_held_up() { POLL_WAIT_HELD_UP } else { POLL_WAIT };
            for _ in 0..BATCH {
                match consumer.poll(wait) {
                    Some(Ok(message)) => assignment.take(&message),
                    Some(Err(KafkaError::PartitionEOF(partition))) => assignment.reached_end(partition),
                    Some(Err(KafkaError::MessageConsumption(
                        RDKafkaErrorCode::AutoOffsetReset
                        | RDKafkaErrorCode::OffsetOutOfRange
                        | RDKafkaErrorCode::LogTruncation,
                    ))) => doubtful = true,
                    // Brokers that come and go: librdkafka goes on by itself, and the context has logged it. Whoever is
                    // not in yet may never be, and has nothing else to say why.
                    Some(Err(error)) => {
                        if !admission.is_member() && !assignment.has_partitions() {
                            self.member.left_out(&consumer.context().explain("joining", &error).to_string());
                        }
                    }
                    None => break,
                }
                wait = Duration::ZERO;
            }
            // Among others: another member has this one's instance id.
            if let Some((_, reason)) = consumer.client().fatal_error() {
                return Err(LogError::Kafka(reason));
            }
            let (has_partitions, has_lost) = (assignment.has_partitions(), assignment.take_lost());
            match admission.look(has_partitions, has_lost, || generation(consumer), Instant::now()) {
                Some(Change::Joined) => self.member.joined(),
                Some(Change::Lost) => {
                    tracing::warn!("the place in the consumer group was lost, asking to be let in again");
                    self.member.left_out("its place was lost, asking to be let in again");
                }
                None => {}
            }
            assignment.hand_on(consumer);
            assignment.introduce(consumer);
            let mut is_stuck = assignment.is_stuck();
            // Nothing is found while the brokers do not answer, or while one of them is behind.
            if doubtful && let Ok(Some(found)) = assignment.judge_offsets(consumer) {
                (doubtful, is_stuck) = (false, is_stuck || !found);
            }
            if is_stuck {
                return Err(LogError::Kafka("an offset was refused that is in the log".to_owned()));
            }
            if self.protocol == Protocol::Consumer {
                self.check_hearing(consumer, &mut hearing, &mut question)?;
            }
            self.commit(consumer);
        }
        Ok(())
    }

    /// Asks the group what it thinks that this member has, where an answer of it may have been missed. An error where one was.
    fn check_hearing<'c>(
        &self,
        consumer: &'c Consumer,
        hearing: &mut Hearing,
        question: &mut Option<Question<'c>>,
    ) -> Result<(), LogError> {
        let (assignment, now) = (&consumer.context().role, Instant::now());
        hearing.notice(assignment.late(), now);
        if let Some(answer) = question.as_ref().and_then(|question| question.answer(consumer, &self.topic)) {
            *question = None;
            if hearing.is_deaf(answer, assignment.partitions(), now) {
                return Err(LogError::Kafka("what the group has given or taken was not heard of".to_owned()));
            }
        }
        if question.is_none()
            && let Some(coordinator) = assignment.coordinator()
            && hearing.asks(now)
        {
            *question = Some(Question::ask(consumer, coordinator, &self.group)?);
        }
        Ok(())
    }

    fn commit(&self, consumer: &Consumer) {
        let hints = std::mem::take(&mut *self.shared.hints.lock());
        if !hints.is_empty() {
            consumer.context().role.commit(consumer, &hints);
        }
    }

    fn is_stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }
}
