//! A listener with TLS that asks who is there.

use crate::support::{append, read, record, topic};
use track_harness::broker::{Broker, PASSWORD};
use track_log::LogError;
use track_log::kafka::{Config, KafkaAppender, KafkaGroup, KafkaLog, Protocol, ensure_topics};
use track_log::{ReadLog as _, Subscribe as _};

fn secured(broker: &Broker, properties: Vec<(String, String)>) -> Config {
    Config { brokers: broker.secured_bootstrap(), properties, partitions: 2, replication: 1 }
}

/// A JWT without a signature, as the test broker takes it: whose, and until the year 2100.
fn unsigned_token() -> String {
    // {"alg":"none"} and {"sub":"track","iat":1700000000,"exp":4102444800}
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0cmFjayIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwfQ.".to_owned()
}

fn works(config: &Config, topic: &str) {
    ensure_topics(config).unwrap();
    let appender = KafkaAppender::open(config, topic).unwrap();
    let at = append(&appender, vec![record("k", "v")]).unwrap()[0].offset;
    let log = KafkaLog::open_topic(config, topic).unwrap();
    assert_eq!(read(log.reader(0, at).unwrap().as_mut(), 1)[0].value.as_ref(), b"v");
    let group = KafkaGroup::new(config, "secured", None, Protocol::Consumer);
    drop(
        group.subscribe(std::sync::Arc::new(crate::support::Handle(crate::support::Folder::new(&Default::default())))),
    );
}

#[test]
fn a_user_with_a_password_reads_and_writes() {
    let broker = Broker::shared();
    for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
        let topic = topic(broker, 1, &[]);
        works(&secured(broker, broker.secured_properties(mechanism, PASSWORD)), &topic);
    }
}

#[test]
fn a_user_with_a_token_reads_and_writes() {
    let broker = Broker::shared();
    let topic = topic(broker, 1, &[]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), unsigned_token()).unwrap();
    let mut properties = broker.tls_properties();
    properties.push(("sasl.mechanism".to_owned(), "OAUTHBEARER".to_owned()));
    properties.push(("sasl.oauthbearer.config".to_owned(), format!("token_file={}", file.path().display())));
    works(&secured(broker, properties), &topic);
}

#[test]
fn a_wrong_password_is_said_at_once_and_not_shown() {
    let broker = Broker::shared();
    let config = secured(broker, broker.secured_properties("SCRAM-SHA-512", "not-the-password"));
    let errors = [
        ensure_topics(&config).unwrap_err(),
        KafkaAppender::open(&config, "any").err().unwrap(),
        KafkaLog::open(&config).err().unwrap(),
    ];
    for error in errors {
        assert!(matches!(error, LogError::Kafka(_)), "{error}");
        let message = error.to_string();
        assert!(message.to_lowercase().contains("authentication"), "{message}");
        assert!(!message.contains("not-the-password"), "{message}");
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_said() {
    let broker = Broker::shared();
    let mut properties = broker.secured_properties("SCRAM-SHA-512", PASSWORD);
    properties.retain(|(name, _)| name != "ssl.ca.location");
    let message = KafkaLog::open(&secured(broker, properties)).err().unwrap().to_string();
    assert!(message.contains("certificate verify failed"), "{message}");
}
