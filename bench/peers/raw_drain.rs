//! Drains a topic with a librdkafka consumer that only counts: the rate at which events can be had at all.
//!
//! `raw-drain --kafka-brokers HOST:PORT [--topic track.events]` prints one line of JSON.

use anyhow::{Context as _, bail};
use clap::Parser;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::Duration;
use track_bench::Stopwatch;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Parser)]
struct Flags {
    /// Brokers to begin with.
    #[arg(long)]
    kafka_brokers: String,
    /// What to drain.
    #[arg(long, default_value = "track.events")]
    topic: String,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &flags.kafka_brokers)
        .set("group.id", "raw-drain")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // As much at a time as there is, and no pause after a full queue.
        .set("fetch.queue.backoff.ms", "1")
        .set("fetch.max.bytes", "104857600")
        .set("max.partition.fetch.bytes", "10485760")
        .set("queued.max.messages.kbytes", "262144")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(&flags.topic), ANSWER_WITHIN)?;
    let topic = metadata.topics().first().context("no such topic")?;
    let (mut assignment, mut left) = (TopicPartitionList::new(), 0);
    for partition in topic.partitions() {
        let (start, end) = consumer.fetch_watermarks(&flags.topic, partition.id(), ANSWER_WITHIN)?;
        left += u64::try_from(end - start)?;
        assignment.add_partition_offset(&flags.topic, partition.id(), Offset::Offset(start))?;
    }
    let stopwatch = Stopwatch::start();
    consumer.assign(&assignment)?;
    let mut drained = 0;
    while drained < left {
        match consumer.poll(ANSWER_WITHIN) {
            Some(Ok(_)) => drained += 1,
            Some(Err(error)) => return Err(error.into()),
            None => bail!("{drained} of {left} records came"),
        }
    }
    println!("{}", stopwatch.report(drained));
    Ok(())
}
