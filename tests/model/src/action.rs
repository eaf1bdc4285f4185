//! What may happen next, and what it leads to.

use crate::ask::{Asking, Reply};
use crate::owners::Told;
use crate::processor::{Life, Owned, Processor, Source};
use crate::scatter::Query;
use crate::system::System;
use crate::{CHECKPOINTS_KEPT, Cluster, Group, Mutation, Partition, ProcessorId};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A record is durable on the log.
    Append(Partition),
    /// A group gives a partition that nobody has to a member, which opens its store.
    Assign(Group, Partition, ProcessorId, Source),
    /// A group takes a partition back; its owner drains, and says so.
    Revoke(Group, Partition),
    /// A group gives an owner up, without a word to it.
    Evict(Group, Partition),
    /// An owner that was given up learns of it.
    LearnRevoked(ProcessorId, Partition),
    /// A processor answers no longer from a partition that it has left: another serves it, or its time is up.
    LetGo(ProcessorId, Partition),
    /// The next record is folded and written.
    Fold(ProcessorId, Partition),
    /// A partition with nothing to fold finds itself at the end of the log.
    LookAtEnd(ProcessorId, Partition),
    /// What is written goes to disk.
    Flush(ProcessorId, Partition),
    /// A checkpoint is complete in the object store.
    Checkpoint(ProcessorId, Partition),
    /// SIGTERM: a goodbye, and everything is drained.
    Stop(ProcessorId),
    /// What is not flushed is lost.
    Crash(ProcessorId),
    /// The machine is lost with its disk.
    LoseDisk(ProcessorId),
    /// A process comes back, with what is on its disk.
    Restart(ProcessorId),
    /// SIGSTOP, or a long pause.
    Freeze(ProcessorId),
    /// SIGCONT.
    Thaw(ProcessorId),
    /// A processor tells of itself.
    Tell(ProcessorId),
    /// The query service hears it.
    Hear(ProcessorId),
    /// A processor has been silent for too long, while another has spoken.
    Forget(ProcessorId),
    /// A query comes; with `true` it must include all that the log has.
    Query(bool),
    /// A processor answers a call, or refuses to.
    Reply(Partition, ProcessorId),
    /// A connection breaks.
    Cut(Partition, ProcessorId),
    /// An answer takes longer than nearly all do.
    Hedge(Partition),
    /// The deadline, or the time that a move may take.
    GiveUp(Partition),
}

impl System {
    /// What may happen now. Nothing does once the query is over.
    pub(crate) fn actions(&self, cluster: &Cluster) -> Vec<Action> {
        let mut actions = vec![];
        if self.is_over() {
            return actions;
        }
        let may_append = |partition: &Partition| self.log_ends[*partition] < cluster.records;
        actions.extend((0..cluster.partitions).filter(may_append).map(Action::Append));
        self.group_actions(cluster, &mut actions);
        for processor in 0..self.processors.len() {
            self.life_actions(cluster, processor, &mut actions);
            (0..cluster.partitions)
                .for_each(|partition| self.fold_actions(cluster, processor, partition, &mut actions));
        }
        self.query_actions(cluster, &mut actions);
        actions
    }

    fn is_over(&self) -> bool {
        self.query.as_ref().is_some_and(Query::is_over)
    }

    fn group_actions(&self, cluster: &Cluster, actions: &mut Vec<Action>) {
        for (group, assignments) in self.assignments.iter().enumerate() {
            for (partition, assignment) in assignments.iter().enumerate() {
                let Some(owner) = assignment.owner else {
                    let is_free =
                        |to: &ProcessorId| cluster.groups[*to] == group && self.processors[*to].may_take(partition);
                    for to in (0..self.processors.len()).filter(is_free) {
                        let sources = self.sources(partition, to).into_iter();
                        actions.extend(sources.map(|from| Action::Assign(group, partition, to, from)));
                    }
                    continue;
                };
                let is_gone = self.is_gone(owner, partition);
                if is_gone && cluster.mutation != Some(Mutation::GoneMemberKept) {
                    actions.push(Action::Evict(group, partition));
                } else if !is_gone && self.chances.moves > 0 {
                    actions.extend([Action::Revoke(group, partition), Action::Evict(group, partition)]);
                }
            }
        }
    }

    fn fold_actions(&self, cluster: &Cluster, processor: ProcessorId, partition: Partition, actions: &mut Vec<Action>) {
        if self.processors[processor].having(partition).is_some_and(Owned::is_leaving) {
            actions.push(Action::LetGo(processor, partition));
        }
        let Some(owned) = self.processors[processor].working_on(partition) else { return };
        if self.lingers(cluster, processor, partition) {
            actions.push(Action::LearnRevoked(processor, partition));
        }
        if owned.folded.next_offset < self.log_ends[partition] {
            actions.push(Action::Fold(processor, partition));
        } else if owned.is_restored() && !owned.is_serving() {
            actions.push(Action::LookAtEnd(processor, partition));
        }
        let flushed = self.processors[processor].disk[partition];
        if flushed != owned.folded && self.chances.may_show_disk() {
            actions.push(Action::Flush(processor, partition));
        } else if self.chances.checkpoints > 0 && !self.checkpoints[partition].contains(&flushed) {
            actions.push(Action::Checkpoint(processor, partition));
        }
    }

    fn life_actions(&self, cluster: &Cluster, processor: ProcessorId, actions: &mut Vec<Action>) {
        let comes_back = processor < cluster.coming_back;
        match self.processors[processor].life {
            Life::Running => {
                if self.chances.stops > 0 {
                    actions.push(Action::Stop(processor));
                }
                if self.chances.crashes > 0 {
                    actions.push(Action::Crash(processor));
                }
                if self.chances.lost_disks > 0 {
                    actions.push(Action::LoseDisk(processor));
                }
                if self.chances.freezes > 0 {
                    actions.push(Action::Freeze(processor));
                }
                if self.board[processor].is_none() && self.news_of(cluster, processor).is_some() {
                    actions.push(Action::Tell(processor));
                }
            }
            Life::Frozen if comes_back => actions.push(Action::Thaw(processor)),
            Life::Down if comes_back => actions.push(Action::Restart(processor)),
            Life::Frozen | Life::Down => {}
        }
        if self.board[processor].is_some() {
            actions.push(Action::Hear(processor));
        }
        let is_silent = !self.processors[processor].is_running() && self.table[processor].is_some();
        if is_silent && self.processors.iter().any(Processor::is_running) {
            actions.push(Action::Forget(processor));
        }
    }

    fn query_actions(&self, cluster: &Cluster, actions: &mut Vec<Action>) {
        let Some(query) = &self.query else {
            if cluster.is_queried && self.is_partition_count_known {
                actions.extend([Action::Query(false), Action::Query(true)]);
            }
            return;
        };
        for (partition, ask) in query.asks.iter().enumerate().filter(|(_, ask)| !ask.is_settled()) {
            for &processor in ask.asked() {
                let min_offset = query.min_offsets[partition];
                if !matches!(self.reply(cluster, processor, partition, min_offset), Reply::None) {
                    actions.push(Action::Reply(partition, processor));
                }
                if self.chances.cuts > 0 {
                    actions.push(Action::Cut(partition, processor));
                }
            }
            if ask.can_hedge() {
                actions.push(Action::Hedge(partition));
            }
            actions.push(Action::GiveUp(partition));
        }
    }

    /// What `action` leads to.
    pub(crate) fn act(&mut self, cluster: &Cluster, action: Action) {
        self.step(cluster, action);
        if self.is_over() {
            self.end();
        } else if !self.chances.may_show_disk() {
            self.processors.iter_mut().for_each(Processor::settle_disk);
        }
    }

    fn step(&mut self, cluster: &Cluster, action: Action) {
        match action {
            Action::Append(partition) => self.log_ends[partition] += 1,
            Action::Assign(group, partition, to, from) => self.assign(cluster, group, partition, to, from),
            Action::Revoke(group, partition) => {
                self.chances.moves -= 1;
                if let Some(owner) = self.assignments[group][partition].owner.take() {
                    self.processors[owner].leave(partition, cluster.is_warm);
                }
            }
            Action::Evict(group, partition) => {
                if let Some(owner) = self.assignments[group][partition].owner.take()
                    && !self.is_gone(owner, partition)
                {
                    self.chances.moves -= 1;
                }
            }
            Action::LearnRevoked(processor, partition) => self.processors[processor].leave(partition, cluster.is_warm),
            Action::LetGo(processor, partition) => self.processors[processor].close(partition),
            Action::Fold(processor, partition) => {
                if let Some(owned) = &mut self.processors[processor].owned[partition] {
                    owned.fold();
                }
            }
            Action::LookAtEnd(processor, partition) => {
                if let Some(owned) = &mut self.processors[processor].owned[partition] {
                    owned.look_at_end();
                }
            }
            Action::Flush(processor, partition) => self.processors[processor].flush(partition, cluster.mutation),
            Action::Checkpoint(processor, partition) => {
                self.chances.checkpoints -= 1;
                let kept = &mut self.checkpoints[partition];
                kept.push(self.processors[processor].disk[partition]);
                kept.sort_unstable();
                if kept.len() > CHECKPOINTS_KEPT {
                    kept.remove(0);
                }
            }
            Action::Stop(processor) => self.stop(processor),
            Action::Crash(processor) => {
                self.chances.crashes -= 1;
                self.processors[processor].crash();
            }
            Action::LoseDisk(processor) => {
                self.chances.lost_disks -= 1;
                self.processors[processor].lose_disk();
            }
            Action::Restart(processor) | Action::Thaw(processor) => self.processors[processor].life = Life::Running,
            Action::Freeze(processor) => {
                self.chances.freezes -= 1;
                self.processors[processor].life = Life::Frozen;
            }
            Action::Tell(processor) => self.board[processor] = self.news_of(cluster, processor),
            Action::Hear(processor) => self.hear(processor),
            Action::Forget(processor) => self.forget(processor),
            Action::Query(includes_all) => {
                let min_offset = |log_end: &usize| if includes_all { log_end.checked_sub(1) } else { None };
                self.query = Some(Query::new(self.log_ends.iter().map(min_offset).collect()));
                (0..cluster.partitions).for_each(|partition| self.race(partition));
            }
            Action::Reply(partition, processor) => self.take_reply(cluster, partition, processor),
            Action::Cut(partition, processor) => {
                self.chances.cuts -= 1;
                self.fail_call(partition, processor);
            }
            Action::Hedge(partition) => {
                if let Some(query) = &mut self.query {
                    query.asks[partition].hedge();
                }
            }
            Action::GiveUp(partition) => self.settle(partition, Asking::Missing),
        }
    }

    /// A clean end: a goodbye in place of whatever is not told yet, then every partition is drained and given back.
    fn stop(&mut self, processor: ProcessorId) {
        self.chances.stops -= 1;
        self.board[processor] = Some(Told::Goodbye);
        for assignment in self.assignments.iter_mut().flatten().filter(|held| held.owner == Some(processor)) {
            assignment.owner = None;
        }
        self.processors[processor].stop();
    }
}
