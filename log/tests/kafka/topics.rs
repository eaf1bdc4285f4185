//! The topics as track needs them.

use crate::support::{PATIENCE, admin, append, config, make_topic, record};
use anyhow::bail;
use futures::executor::block_on;
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use track_harness::broker::Broker;
use track_harness::poll::eventually;
use track_log::LogError;
use track_log::kafka::{KafkaAppender, KafkaBulletin, KafkaLog, ensure_topics};
use track_log::{Append as _, ReadLog as _};
use track_proto::topics::{DEAD_LETTER, EVENTS, OWNERS};

#[test]
fn topics_are_made_once_however_many_try() {
    let broker = Broker::start().unwrap();
    let config = config(&broker, &[]);
    std::thread::scope(|scope| {
        let tries: Vec<_> = (0..3).map(|_| scope.spawn(|| ensure_topics(&config))).collect();
        for tried in tries {
            assert_eq!(tried.join().unwrap().unwrap(), 4);
        }
    });
    let mut other = config.clone();
    other.partitions = 9;
    assert_eq!(ensure_topics(&other).unwrap(), 4, "what is there stays");
    assert_eq!(KafkaLog::open(&config).unwrap().partition_count(), 4);
    KafkaBulletin::open(&config, OWNERS).unwrap();

    // The largest record that the events' topic takes fits a dead letter, with its key and its reason.
    let largest = vec![7_u8; 1_048_000];
    let dead_letters = KafkaAppender::open(&config, DEAD_LETTER).unwrap();
    assert_eq!(dead_letters.partition_count(), 1);
    let mut letter = largest;
    letter.extend([0; 2_000]);
    append(&dead_letters, vec![record("k", letter)]).unwrap();
}

#[test]
fn a_topic_that_would_break_exactness_is_refused_with_what_to_do() {
    let broker = Broker::start().unwrap();
    let config = config(&broker, &[]);
    make_topic(&broker, EVENTS, 2, &[]);
    for (setting, value, good) in [
        ("message.timestamp.type", "CreateTime", "LogAppendTime"),
        ("cleanup.policy", "compact", "delete"),
        ("unclean.leader.election.enable", "true", "false"),
    ] {
        // Altering sets all of a topic's settings anew; the good ones last, for the next round.
        let events =
            || AlterConfig::new(ResourceSpecifier::Topic(EVENTS)).set("message.timestamp.type", "LogAppendTime");
        alter(&broker, &events().set(setting, value));
        let error = eventually(PATIENCE, "a refusal", || match ensure_topics(&config) {
            Err(error) => Ok(error),
            Ok(_) => bail!("the topic is as it must be"),
        })
        .unwrap();
        let LogError::Refused(message) = &error else { panic!("{error}") };
        for part in [format!("{setting}={value}"), format!("--entity-name {EVENTS}"), format!("{setting}={good}")] {
            assert!(message.contains(&part), "{message}");
        }
        alter(&broker, &events());
        eventually(PATIENCE, "a topic as it must be", || Ok(ensure_topics(&config)?)).unwrap();
    }
}

#[test]
fn a_board_of_several_partitions_is_refused() {
    let broker = Broker::start().unwrap();
    make_topic(&broker, OWNERS, 2, &[("cleanup.policy", "compact")]);
    let error = ensure_topics(&config(&broker, &[])).unwrap_err().to_string();
    assert!(error.contains(OWNERS) && error.contains("one partition"), "{error}");
}

fn alter(broker: &Broker, settings: &AlterConfig<'_>) {
    for altered in block_on(admin(broker).alter_configs([settings], &AdminOptions::new())).unwrap() {
        altered.unwrap();
    }
}
