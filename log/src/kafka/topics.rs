//! The topics as track needs them: made where they are missing, checked where they are.

use super::client::{self, Asker, Asking, Config, Context, OPEN_WITHIN};
use super::token;
use crate::LogError;
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use std::collections::HashMap;
use std::ffi::CString;
use std::time::{Duration, Instant};
use track_proto::topics::{DEAD_LETTER, EVENTS, EVENTS_RETENTION_MS, OWNERS};

/// What a dead letter has besides the record's value: its key and the reason, at most.
const DEAD_LETTER_ROOM_BYTES: u64 = 64 * 1024;
/// A letter holds as much of a value, however little the topic of events takes after compression.
const DEAD_LETTER_VALUE_BYTES_MAX: u64 = 1024 * 1024;
/// Between two questions to brokers that do not know yet.
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Makes the topics that are missing and checks those that are there. Returns how many partitions `track.events` has.
///
/// Several processes may do so at once. Where all topics are there, no right to make one is needed.
///
/// # Errors
/// [`LogError::Refused`] where a topic's settings would break exactness, with what to do about it; [`LogError::Kafka`]
/// where the brokers can't be reached or do not know us.
pub fn ensure_topics(config: &Config) -> Result<u32, LogError> {
    let asker = client::asker(config)?;
    let admin = Admin::connect(config)?;
    let retention = EVENTS_RETENTION_MS.to_string();
    let partitions = i32::try_from(config.partitions)
        .map_err(|_| LogError::Refused(format!("a topic can't have {} partitions", config.partitions)))?;
    // With three replicas or more, one may be away and an acknowledged event still be on two.
    let min_insync = if config.replication >= 3 { "2" } else { "1" };

    let events = NewTopic::new(EVENTS, partitions, TopicReplication::Fixed(config.replication))
        .set("message.timestamp.type", "LogAppendTime")
        .set("cleanup.policy", "delete")
        .set("retention.ms", &retention)
        .set("retention.bytes", "-1")
        .set("unclean.leader.election.enable", "false")
        .set("min.insync.replicas", min_insync);
    let partition_count = admin.ensure(&asker, &events)?;
    let settings = admin.settings(EVENTS)?;
    check_events(&settings)?;
    if partition_count != config.partitions {
        tracing::info!("{EVENTS} has {partition_count} partitions, whatever --partitions says: it was there before");
    }

    let record_bytes_max = settings.get("max.message.bytes").and_then(|value| value.parse::<u64>().ok());
    let letter_bytes_max = record_bytes_max.unwrap_or(0).max(DEAD_LETTER_VALUE_BYTES_MAX) + DEAD_LETTER_ROOM_BYTES;
    let letter_bytes_max = letter_bytes_max.to_string();
    // As long as an event's: a letter can be put back while what it counts by is remembered, and no longer.
    let dead_letters = NewTopic::new(DEAD_LETTER, 1, TopicReplication::Fixed(config.replication))
        .set("cleanup.policy", "delete")
        .set("retention.ms", &retention)
        .set("max.message.bytes", &letter_bytes_max)
        .set("min.insync.replicas", min_insync);
    admin.ensure(&asker, &dead_letters)?;

    // Every instance posts about once a second: small segments, so that compaction keeps the topic short to read.
    let owners = NewTopic::new(OWNERS, 1, TopicReplication::Fixed(config.replication))
        .set("cleanup.policy", "compact")
        .set("segment.bytes", "4194304")
        .set("segment.ms", "600000")
        .set("min.cleanable.dirty.ratio", "0.1")
        .set("max.compaction.lag.ms", "900000")
        .set("min.insync.replicas", min_insync);
    let owners_partitions = admin.ensure(&asker, &owners)?;
    check_owners(owners_partitions, &admin.settings(OWNERS)?)?;
    Ok(partition_count)
}

fn check_events(settings: &Settings) -> Result<(), LogError> {
    settings.must(
        EVENTS,
        "message.timestamp.type",
        "LogAppendTime",
        "expiry is measured by when the log took an event",
    )?;
    settings.must(EVENTS, "cleanup.policy", "delete", "compaction would take events away that count")?;
    settings.must(EVENTS, "unclean.leader.election.enable", "false", "an answered event could be lost")?;
    for (name, enough) in [("retention.ms", EVENTS_RETENTION_MS), ("retention.bytes", i64::MAX)] {
        match settings.get(name).and_then(|value| value.parse::<i64>().ok()) {
            Some(kept) if kept >= 0 && kept < enough => tracing::warn!(
                "{EVENTS} has {name}={kept}: a processor that is behind by more than the log keeps will refuse to go on"
            ),
            _ => {}
        }
    }
    Ok(())
}

fn check_owners(partitions: u32, settings: &Settings) -> Result<(), LogError> {
    if partitions != 1 {
        return Err(LogError::Refused(format!(
            "the topic {OWNERS} must have one partition and has {partitions}: delete it, and it is made as it must be"
        )));
    }
    settings.must(OWNERS, "cleanup.policy", "compact", "who owns what must outlast any retention")
}

/// The settings of one topic.
struct Settings(HashMap<String, String>);

impl Settings {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn must(&self, topic: &str, name: &str, value: &str, why: &str) -> Result<(), LogError> {
        let found = self.get(name).unwrap_or("nothing");
        if found == value {
            return Ok(());
        }
        Err(LogError::Refused(format!(
            "the topic {topic} has {name}={found} and must have {value}, since {why}. Change it with: \
             kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {name}={value}"
        )))
    }
}

struct Admin {
    client: AdminClient<Context<Asking>>,
    options: AdminOptions,
}

impl Admin {
    fn connect(config: &Config) -> Result<Self, LogError> {
        let config = config.asking()?;
        let client: AdminClient<_> = config.create_with_context(Context::new(Asking)).map_err(client::refused)?;
        if config.get("sasl.mechanism").is_some_and(|mechanism| mechanism.eq_ignore_ascii_case("OAUTHBEARER")) {
            hand_token(&client, config.get("sasl.oauthbearer.config"))?;
        }
        let options = AdminOptions::new().request_timeout(Some(OPEN_WITHIN)).operation_timeout(Some(OPEN_WITHIN));
        Ok(Self { client, options })
    }

    /// Makes a topic where it is missing. Returns how many partitions it has.
    fn ensure(&self, asker: &Asker, topic: &NewTopic<'_>) -> Result<u32, LogError> {
        if let Some(partitions) = client::find_topic(asker, topic.name)? {
            return Ok(partitions);
        }
        let made = block_on(self.client.create_topics([topic], &self.options))
            .map_err(|error| asker.context().explain(&format!("making the topic {}", topic.name), &error))?;
        match made.into_iter().next() {
            Some(Ok(_)) => tracing::info!("made the topic {}", topic.name),
            // Another process was quicker.
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None => {}
            // A controller that is being elected, or brokers that are yet to come.
            Some(Err((
                _,
                error @ (RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::NotController
                | RDKafkaErrorCode::InvalidReplicationFactor),
            ))) => {
                return Err(LogError::Kafka(format!("the topic {} could not be made: {error}", topic.name)));
            }
            Some(Err((_, error))) => {
                return Err(LogError::Refused(format!("the topic {} could not be made: {error}", topic.name)));
            }
        }
        // The news takes a moment to reach every broker.
        let deadline = Instant::now() + OPEN_WITHIN;
        loop {
            match client::find_topic(asker, topic.name)? {
                Some(partitions) => return Ok(partitions),
                None if Instant::now() < deadline => {}
                None => return client::expect_topic(asker, topic.name),
            }
        }
    }

    /// The settings of a topic that is there.
    ///
    /// rust-rdkafka drops what a broker says against showing them: then there are none. A broker that has not heard of a new
    /// topic yet says so, and the next one asked may know it.
    fn settings(&self, topic: &str) -> Result<Settings, LogError> {
        let deadline = Instant::now() + OPEN_WITHIN;
        loop {
            let described = block_on(self.client.describe_configs([&ResourceSpecifier::Topic(topic)], &self.options))
                .map(|described| described.into_iter().next());
            let error = match described {
                Ok(Some(Ok(ConfigResource { entries, .. }))) if !entries.is_empty() => {
                    let settings = entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?)));
                    return Ok(Settings(settings.collect()));
                }
                _ if Instant::now() < deadline => {
                    std::thread::park_timeout(ASKED_AGAIN_AFTER);
                    continue;
                }
                Ok(Some(Ok(_))) => "the brokers show none; this user needs DescribeConfigs on the topic".to_owned(),
                Ok(Some(Err(error))) => error.to_string(),
                Ok(None) => "no answer".to_owned(),
                Err(error) => error.to_string(),
            };
            return Err(LogError::Kafka(format!("asking for the settings of {topic}: {error}")));
        }
    }
}

/// Gives the client its token beforehand: rust-rdkafka's admin client serves no token requests.
fn hand_token(client: &AdminClient<Context<Asking>>, config: Option<&str>) -> Result<(), LogError> {
    let refused = |reason: String| LogError::Refused(reason);
    let token = token::from_file(config).map_err(refused)?;
    let no_nul = |text: String| CString::new(text).map_err(|_| refused("the OAUTHBEARER token holds a NUL".to_owned()));
    let (value, principal) = (no_nul(token.token)?, no_nul(token.principal_name)?);
    let mut reason = [0; 512];
    #[allow(unsafe_code, reason = "rust-rdkafka has no safe way to set a token")]
    // SAFETY: the client is alive, both texts end in a NUL and are copied, there are no extensions, and `reason` is as
    // long as is said.
    let error = unsafe {
        rdkafka::bindings::rd_kafka_oauthbearer_set_token(
            client.inner().native_ptr(),
            value.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            std::ptr::null_mut(),
            0,
            reason.as_mut_ptr(),
            reason.len(),
        )
    };
    match RDKafkaErrorCode::from(error) {
        RDKafkaErrorCode::NoError => Ok(()),
        error => Err(refused(format!("the OAUTHBEARER token is refused: {error}"))),
    }
}
