//! Taking part where there is nobody else: all partitions at once, until the end.

use super::partition::PartitionLog;
use super::reader::Reader;
use crate::{LogError, Member, Offset, Partition, Subscription};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(super) struct Sole {
    partitions: Vec<Arc<PartitionLog>>,
    revoked: Arc<AtomicBool>,
    stage: Arc<(Mutex<Stage>, Condvar)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Taking,
    Leaving,
    Left,
}

impl Sole {
    /// Assigns everything to `member` on a thread of its own, which revokes it in the end.
    pub(super) fn join(partitions: Vec<Arc<PartitionLog>>, member: Arc<dyn Member>) -> Result<Self, LogError> {
        let stage = Arc::new((Mutex::new(Stage::Taking), Condvar::new()));
        let sole = Self { partitions, revoked: Arc::default(), stage: Arc::clone(&stage) };
        let (partitions, revoked) = (sole.partitions.clone(), Arc::clone(&sole.revoked));
        std::thread::Builder::new()
            .name("log-member".to_owned())
            .spawn(move || {
                take_part(&partitions, member.as_ref(), &revoked, &stage);
                // Before anyone is told: the member may be what holds the log.
                drop(member);
                *stage.0.lock() = Stage::Left;
                stage.1.notify_all();
            })
            .map_err(|source| LogError::Io { context: "start a thread".to_owned(), source })?;
        Ok(sole)
    }

    fn leave(&self) {
        {
            let mut stage = self.stage.0.lock();
            if *stage == Stage::Taking {
                *stage = Stage::Leaving;
            }
        }
        self.stage.1.notify_all();
        self.revoked.store(true, Ordering::Release);
        for partition in &self.partitions {
            partition.wake();
        }
    }
}

fn take_part(
    partitions: &[Arc<PartitionLog>],
    member: &dyn Member,
    revoked: &Arc<AtomicBool>,
    stage: &(Mutex<Stage>, Condvar),
) {
    let numbers: Vec<Partition> = partitions.iter().map(|partition| partition.number).collect();
    for (number, from) in member.assigned(&numbers) {
        if let Some(partition) = partitions.iter().find(|partition| partition.number == number) {
            let reader = Reader::new(Arc::clone(partition), from, Arc::clone(revoked));
            member.reader(number, Box::new(reader));
        }
    }
    member.joined();
    let mut now = stage.0.lock();
    while *now == Stage::Taking {
        stage.1.wait(&mut now);
    }
    drop(now);
    member.revoked(&numbers);
}

impl Subscription for Sole {
    /// Nobody asks how far it is.
    fn commit_hint(&self, _applied: &[(Partition, Offset)]) {}

    fn close(&self, within: Duration) {
        self.leave();
        let deadline = Instant::now() + within;
        let mut stage = self.stage.0.lock();
        while *stage != Stage::Left {
            if self.stage.1.wait_until(&mut stage, deadline).timed_out() {
                return;
            }
        }
    }
}

impl Drop for Sole {
    fn drop(&mut self) {
        self.leave();
    }
}
