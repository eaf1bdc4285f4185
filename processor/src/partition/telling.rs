//! What a partition says of itself: how far it is, to whoever waits for that, to operators, and in gauges.

use super::Owned;
use crate::reach::Stage;
use metrics::gauge;
use std::sync::atomic::Ordering;
use track_log::{Offset, PartitionReader, Record};
use track_proto::v1;

/// What the owner of a partition says of it, and nobody else.
const OF_AN_OWNER: [&str; 4] =
    ["track_consumer_lag_records", "track_consumer_lag_seconds", "track_log_silent_seconds", "track_store_bytes"];

impl Owned {
    /// Tells everybody how far it is, `last` being the record that was folded last, if one was just now.
    pub(crate) fn tell_reach(&self, reader: &dyn PartitionReader, last: Option<&Record>) {
        let (mut next_offset, mut newly_served) = (0, false);
        // In this order: what the log takes in between must not count as heard of.
        let now_ms = (self.clock)();
        let age = reader.log_end_age();
        let age_ms = age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let log_end = reader.log_end();
        self.reach.send_modify(|reach| {
            reach.looked_ms = age_ms.map_or(reach.looked_ms, |age_ms| now_ms.saturating_sub(age_ms));
            next_offset = reach.progress.next_offset;
            reach.log_end = log_end.max(next_offset);
            // On Kafka what lies before the end may be no record: the marks of a transaction, for one.
            let is_at_end = last.is_none() && next_offset >= log_end;
            let is_restored = next_offset >= self.restored_at.load(Ordering::Acquire) || is_at_end;
            newly_served = is_restored && reach.stage == Stage::Restoring && self.trouble.lock().is_none();
            if newly_served {
                reach.stage = Stage::Serving;
            }
        });
        if newly_served {
            *self.condition.lock() = None;
            tracing::info!(partition = self.partition, offset = next_offset, "partition restored and served");
        }
        let partition = self.partition.to_string();
        if let Some(age) = age {
            gauge!("track_log_silent_seconds", "partition" => partition.clone()).set(age.as_secs_f64());
        }
        let lag = log_end.saturating_sub(next_offset);
        #[allow(clippy::cast_precision_loss)] // a gauge
        gauge!("track_consumer_lag_records", "partition" => partition.clone()).set(lag as f64);
        let lag_ms = match last {
            Some(last) if lag > 0 => now_ms - last.append_time_ms,
            _ => 0,
        };
        if lag == 0 || last.is_some() {
            #[allow(clippy::cast_precision_loss)] // a gauge
            gauge!("track_consumer_lag_seconds", "partition" => partition).set(lag_ms.max(0) as f64 / 1000.0);
        }
    }

    /// Its next owner sets the gauges from here on; a sum over processors must not have them twice.
    pub(super) fn forget_gauges(&self) {
        for of_an_owner in OF_AN_OWNER {
            gauge!(of_an_owner, "partition" => self.partition.to_string()).set(0.0);
        }
    }

    /// [`Owned::restoring_message`] with what is wrong with the store, for an operator alone.
    pub(crate) fn restoring_reason(&self) -> String {
        let message = self.restoring_message();
        match &*self.condition.lock() {
            Some(condition) => format!("{message}; {condition}"),
            None => message,
        }
    }

    /// For whoever asks the partition before it is served.
    pub(crate) fn restoring_message(&self) -> String {
        let (partition, at) = (self.partition, self.next_offset());
        match self.restored_at.load(Ordering::Acquire) {
            Offset::MAX => {
                format!("partition {partition} is restoring: at offset {at}, the log's end is not known yet")
            }
            end => format!("partition {partition} is restoring: at offset {at} of {end}"),
        }
    }

    pub(crate) fn status(&self) -> v1::PartitionStatus {
        let reach = *self.reach.borrow();
        let (state, as_of) = (reach.stage.told().into(), Some(reach.as_of()));
        v1::PartitionStatus { partition: self.partition, state, as_of, ..v1::PartitionStatus::default() }
    }

    pub(crate) fn measure_store(&self) {
        // One that is being mended or closed has no size to tell.
        if let Some(store) = self.store.try_read().as_ref().and_then(|store| store.as_ref()) {
            #[allow(clippy::cast_precision_loss)] // a gauge
            gauge!("track_store_bytes", "partition" => self.partition.to_string()).set(store.bytes() as f64);
        }
    }
}
