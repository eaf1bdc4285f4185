//! From the operator's configuration to a librdkafka client, and what every client has in common: its log lines, its
//! last error, its token.
//!
//! A property of the operator overrides ours, except where an exact count depends on ours: those are refused. The names
//! and meanings are those of librdkafka's `CONFIGURATION.md`.

use super::token;
use crate::LogError;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long opening something waits for the brokers.
pub(super) const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// Readers that are in no group still need a name for one; they never join it.
const READER_GROUP: &str = "track-reader";

/// Which Kafka, and how to talk to it.
#[derive(Clone)]
pub struct Config {
    /// `host:port`, separated by commas.
    pub brokers: String,
    /// Properties of librdkafka, in the operator's words; for TLS and SASL as much as for tuning.
    pub properties: Vec<(String, String)>,
    /// How many partitions `track.events` gets where it has to be made.
    pub partitions: u32,
    /// How many replicas the topics get where they have to be made.
    pub replication: i32,
}

impl std::fmt::Debug for Config {
    /// Without the properties' values: passwords are among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let properties: Vec<_> = self.properties.iter().map(|(name, _)| name).collect();
        f.debug_struct("Config")
            .field("brokers", &self.brokers)
            .field("properties", &properties)
            .finish_non_exhaustive()
    }
}

/// Ours, for any client; an operator's property comes after.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "track"),
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.keepalive.enable", "true"),
    ("socket.connection.setup.timeout.ms", "5000"),
];

const PRODUCER_DEFAULTS: &[(&str, &str)] = &[
    ("compression.codec", "lz4"),
    // The latency of a single event, for as much more to share its request.
    ("queue.buffering.max.ms", "1"),
    // Below the deadline of an HTTP request, so that its caller hears of it.
    ("message.timeout.ms", "8000"),
    // What waits is bounded in bytes; `Producer` refuses more, whole batches at a time.
    ("queue.buffering.max.kbytes", "262144"),
    ("queue.buffering.max.messages", "0"),
    // The broker has its own limit, for compressed batches; this one would refuse a dead letter of a record that it took.
    ("message.max.bytes", "104857600"),
];

const CONSUMER_DEFAULTS: &[(&str, &str)] = &[
    ("check.crcs", "true"),
    // How soon a partition is fetched again whose queue was full: with 1000, the default, a fast reader starves.
    ("fetch.queue.backoff.ms", "20"),
    ("queued.max.messages.kbytes", "65536"),
    // Also the limit to what a batch unpacks to: beyond it librdkafka tries for ever, and one record that compresses well
    // would stop its partition.
    ("receive.message.max.bytes", "2147483647"),
];

/// How much a reader of one partition reads ahead.
const READER_READ_AHEAD: (&str, &str) = ("queued.max.messages.kbytes", "8192");

/// A property on which exactness rests: the values it may have, and why no other.
struct Fixed {
    name: &'static str,
    values: &'static [&'static str],
    why: &'static str,
}

const PRODUCER_FIXED: &[Fixed] = &[
    Fixed { name: "enable.idempotence", values: &["true"], why: "a retried request would append its events twice" },
    Fixed { name: "acks", values: &["all", "-1"], why: "an answered event must be on every in-sync replica" },
    Fixed {
        name: "delivery.report.only.error",
        values: &["false"],
        why: "an event is answered when its delivery is reported",
    },
    Fixed {
        name: "partitioner",
        values: &["murmur2_random"],
        why: "a user's partition must be the one that Java's clients choose",
    },
];

const CONSUMER_FIXED: &[Fixed] = &[
    Fixed { name: "enable.auto.commit", values: &["false"], why: "the store's offset is the truth" },
    Fixed { name: "enable.auto.offset.store", values: &["false"], why: "the store's offset is the truth" },
    Fixed { name: "auto.offset.reset", values: &["error"], why: "a gap in the log must be refused, not skipped" },
    Fixed { name: "isolation.level", values: &["read_committed"], why: "an aborted event must not be counted" },
    Fixed { name: "enable.partition.eof", values: &["true"], why: "the lag is measured by it" },
    Fixed { name: "statistics.interval.ms", values: &["500"], why: "the lag is measured by it" },
];

/// Properties that are not the operator's to set at all, with what to use instead.
const RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", "use --kafka-brokers"),
    ("group.id", "use --group"),
    ("group.instance.id", "use --instance-id"),
    ("group.protocol", "use --group-protocol"),
    ("transactional.id", "track uses no transactions"),
];

/// Two names of one property would leave it to chance which wins.
const ALIASES: &[(&str, &str)] = &[
    ("metadata.broker.list", "bootstrap.servers"),
    ("request.required.acks", "acks"),
    ("compression.type", "compression.codec"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("sasl.mechanisms", "sasl.mechanism"),
];

impl Config {
    /// For a client that only asks.
    pub(super) fn asking(&self) -> Result<ClientConfig, LogError> {
        self.client(&[], &[])
    }

    /// For a producer.
    pub(super) fn producer(&self) -> Result<ClientConfig, LogError> {
        self.client(PRODUCER_DEFAULTS, PRODUCER_FIXED)
    }

    /// For a consumer that is told which partition to read.
    pub(super) fn reader(&self) -> Result<ClientConfig, LogError> {
        let mut client = self.client(CONSUMER_DEFAULTS, CONSUMER_FIXED)?;
        client.set("group.id", READER_GROUP);
        // There may be one for each partition, where the group's consumer is one for all.
        let (name, value) = READER_READ_AHEAD;
        if self.properties.iter().all(|(set, _)| set != name) {
            client.set(name, value);
        }
        Ok(client)
    }

    fn client(&self, defaults: &[(&str, &str)], fixed: &[Fixed]) -> Result<ClientConfig, LogError> {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers);
        for (name, value) in DEFAULTS.iter().chain(defaults) {
            client.set(*name, *value);
        }
        for (name, value) in &self.properties {
            let name = ALIASES.iter().find(|(alias, _)| alias == name).map_or(name.as_str(), |(_, name)| name);
            if let Some((_, instead)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
                return Err(LogError::Refused(format!("the Kafka property {name} can't be set: {instead}")));
            }
            if let Some(fixed) = PRODUCER_FIXED.iter().chain(CONSUMER_FIXED).find(|fixed| fixed.name == name) {
                if !fixed.values.contains(&value.to_ascii_lowercase().as_str()) {
                    let (must, why) = (fixed.values[0], fixed.why);
                    return Err(LogError::Refused(format!(
                        "the Kafka property {name} can't be {value}, only {must}: {why}"
                    )));
                }
                continue;
            }
            client.set(name, value);
        }
        for Fixed { name, values, .. } in fixed {
            client.set(*name, values[0]);
        }
        Ok(client)
    }
}

/// What a kind of client hears besides what all of them do.
pub(super) trait Role: Send + Sync {
    fn statistics(&self, _statistics: &Statistics) {}
}

/// A client that only asks.
pub(super) struct Asking;

impl Role for Asking {}

/// What librdkafka calls back for any client.
pub(super) struct Context<R> {
    pub(super) role: R,
    last_error: Mutex<Option<String>>,
    /// The brokers said who we are not: trying again changes nothing.
    unwelcome: AtomicBool,
}

impl<R: Role> Context<R> {
    pub(super) fn new(role: R) -> Self {
        Self { role, last_error: Mutex::default(), unwelcome: AtomicBool::new(false) }
    }

    /// An error of a call, with what librdkafka said on its own about the reason.
    pub(super) fn explain(&self, doing: &str, error: &KafkaError) -> LogError {
        let reason = self.last_error.lock();
        let reason = reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        LogError::Kafka(format!("{doing}: {error}{reason}"))
    }
}

impl<R: Role> ClientContext for Context<R> {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            // A producer's property on a consumer: each client is given all of the operator's.
            _ if facility == "CONFWARN" => tracing::debug!(target: "librdkafka", "{message}"),
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "librdkafka", "{facility} {message}");
            }
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", "{facility} {message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", "{facility} {message}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.role.statistics(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // News, not errors.
            Some(RDKafkaErrorCode::PartitionEOF) => return,
            Some(
                RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::SSL,
            ) => self.unwelcome.store(true, Ordering::Release),
            // It follows what went wrong with each broker and says less.
            Some(RDKafkaErrorCode::AllBrokersDown) if self.last_error.lock().is_some() => return,
            _ => {}
        }
        tracing::warn!("Kafka: {reason}");
        *self.last_error.lock() = Some(reason.to_owned());
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token::from_file(config).inspect_err(|error| tracing::error!("{error}")).map_err(Into::into)
    }
}

impl ConsumerContext for Context<Asking> {}

/// A client to ask the brokers with.
pub(super) type Asker = BaseConsumer<Context<Asking>>;

/// Makes a client to ask with. Being a consumer, it never makes a topic by asking for it.
pub(super) fn asker(config: &Config) -> Result<Asker, LogError> {
    config.asking()?.create_with_context(Context::new(Asking)).map_err(refused)
}

/// Why a client can't be made: always the configuration. Without the value, which may be a password.
pub(super) fn refused(error: KafkaError) -> LogError {
    match error {
        KafkaError::ClientConfig(_, what, name, _) => {
            LogError::Refused(format!("the Kafka property {name} is refused: {what}"))
        }
        other => LogError::Refused(format!("Kafka's properties are refused: {other}")),
    }
}

/// Serves the client's own events: why it can't connect, and whether it needs a token.
pub(super) fn serve(asker: &Asker) {
    // Not zero: with that, a poll ends after one line of log.
    while asker.poll(Duration::from_millis(1)).is_some() {}
}

/// The partitions of a topic; `None` where there is no such topic.
pub(super) fn find_topic(asker: &Asker, topic: &str) -> Result<Option<u32>, LogError> {
    let deadline = Instant::now() + OPEN_WITHIN;
    loop {
        serve(asker);
        let found = asker.fetch_metadata(Some(topic), Duration::from_secs(1));
        serve(asker);
        let context = asker.context();
        let problem = match &found {
            Err(error) => context.explain("asking the brokers", error),
            Ok(metadata) => match metadata.topics().first() {
                Some(found) if found.error().is_none() && !found.partitions().is_empty() => {
                    let partitions = found.partitions().len();
                    return Ok(Some(u32::try_from(partitions).expect("partitions are numbered by i32")));
                }
                Some(found) => match found.error().map(RDKafkaErrorCode::from) {
                    Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                        return Ok(None);
                    }
                    Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                        return Err(LogError::Refused(format!("this user may not describe the topic {topic}")));
                    }
                    error => LogError::Kafka(format!("the topic {topic} is not ready: {error:?}")),
                },
                None => return Ok(None),
            },
        };
        if context.unwelcome.load(Ordering::Acquire) || Instant::now() >= deadline {
            return Err(problem);
        }
    }
}

/// The partitions of a topic that must be there. One that is not may be new: a broker hears of it a moment later than others.
pub(super) fn expect_topic(asker: &Asker, topic: &str) -> Result<u32, LogError> {
    find_topic(asker, topic)?.ok_or_else(|| LogError::Kafka(format!("there is no topic {topic} on these brokers")))
}

/// Why there is no thread for a client.
pub(super) fn no_thread(source: std::io::Error) -> LogError {
    LogError::Io { context: "a thread for Kafka".to_owned(), source }
}

/// Drops a consumer on a thread of its own, since that may hang (librdkafka waits for its brokers).
pub(super) fn retire<T: Send + 'static>(client: T) {
    // Where no thread can be had the closure is dropped here, and the client with it.
    let _ = std::thread::Builder::new().name("kafka-retire".to_owned()).spawn(move || drop(client));
}

/// Kafka's numbers for partitions are signed; ours are not.
pub(super) fn kafka_partition(partition: u32) -> i32 {
    i32::try_from(partition).expect("partitions are numbered by i32")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(properties: &[(&str, &str)]) -> Config {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config { brokers: "127.0.0.1:1".to_owned(), properties, partitions: 1, replication: 1 }
    }

    #[test]
    fn an_operators_property_wins_under_any_of_its_names() {
        let client = config(&[("linger.ms", "7"), ("compression.type", "zstd")]).producer().unwrap();
        assert_eq!(client.get("queue.buffering.max.ms"), Some("7"));
        assert_eq!(client.get("compression.codec"), Some("zstd"));
        assert_eq!(client.get("linger.ms"), None);
    }

    #[test]
    fn what_exactness_rests_on_is_not_to_be_changed() {
        for (name, value) in [
            ("acks", "1"),
            ("request.required.acks", "0"),
            ("enable.idempotence", "false"),
            ("auto.offset.reset", "latest"),
            ("isolation.level", "read_uncommitted"),
            ("partitioner", "random"),
            ("group.id", "mine"),
        ] {
            let error = config(&[(name, value)]).producer().unwrap_err().to_string();
            assert!(error.contains("can't be"), "{name}={value}: {error}");
        }
        let client = config(&[("acks", "-1"), ("enable.idempotence", "TRUE")]).producer().unwrap();
        assert_eq!((client.get("acks"), client.get("enable.idempotence")), (Some("all"), Some("true")));
    }

    #[test]
    fn an_unknown_property_is_named_and_no_value_is_shown() {
        let error = asker(&config(&[("sasl.pasword", "hush")])).err().unwrap().to_string();
        assert!(error.contains("sasl.pasword") && !error.contains("hush"), "{error}");
        assert!(!format!("{:?}", config(&[("sasl.password", "hush")])).contains("hush"));
    }

    #[test]
    fn security_and_compression_are_built_in() {
        let native = ClientConfig::new().create_native_config().unwrap();
        let features = native.get("builtin.features").unwrap();
        for feature in ["ssl", "sasl_plain", "sasl_scram", "sasl_oauthbearer", "lz4", "zstd", "gzip", "snappy"] {
            assert!(features.split(',').any(|built| built.trim() == feature), "{feature} of {features}");
        }
    }
}
