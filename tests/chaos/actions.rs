//! What may happen.

use crate::cluster::{APART, Cluster};
use crate::remedies::Remedy;
use crate::service::Role;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::time::Duration;
use track_harness::brokers::{BROKERS, Brokers};
use track_harness::proxy::Cut;
use track_harness::s3::S3;

/// A kind of thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Kill(Role),
    Terminate(Role),
    Freeze(Role),
    Cut(Role),
    WipeProcessor,
    PutBackProcessor,
    /// The newest checkpoints are gone, and so is a state.
    RestoreOldCheckpoint,
    AddProcessor,
    RemoveProcessor,
    KillAllProcessors,
    KillBroker,
    StopBroker,
    FreezeBroker,
    CutBroker,
    /// Some services do not reach Kafka, and others do.
    CutApart,
    /// Kafka is away altogether.
    FreezeAllBrokers,
    FreezeStore,
    CutStore,
    LoseStore,
}

/// How often each happens, next to the others.
pub const WEIGHTS: [(Action, u32); 26] = [
    (Action::Kill(Role::Processor), 10),
    (Action::Terminate(Role::Processor), 6),
    (Action::Freeze(Role::Processor), 7),
    (Action::Cut(Role::Processor), 6),
    (Action::WipeProcessor, 4),
    (Action::PutBackProcessor, 4),
    (Action::RestoreOldCheckpoint, 3),
    (Action::AddProcessor, 3),
    (Action::RemoveProcessor, 3),
    (Action::KillAllProcessors, 2),
    (Action::Kill(Role::Ingest), 5),
    (Action::Terminate(Role::Ingest), 3),
    (Action::Freeze(Role::Ingest), 3),
    (Action::Cut(Role::Ingest), 4),
    (Action::Kill(Role::Query), 3),
    (Action::Terminate(Role::Query), 2),
    (Action::Freeze(Role::Query), 2),
    (Action::KillBroker, 6),
    (Action::StopBroker, 2),
    (Action::FreezeBroker, 4),
    (Action::CutBroker, 4),
    (Action::CutApart, 5),
    (Action::FreezeAllBrokers, 3),
    (Action::FreezeStore, 2),
    (Action::CutStore, 2),
    (Action::LoseStore, 2),
];

/// What has happened, and after how long it ends in which way.
pub struct Happened {
    pub said: String,
    pub remedies: Vec<(Duration, Remedy)>,
}

impl Action {
    /// Does it, where that can be borne now.
    pub fn take(self, cluster: &mut Cluster, rng: &mut Rng) -> Option<Happened> {
        let for_so_long = outage(rng);
        let (target, remedies) = match self {
            Self::Kill(role) | Self::Terminate(role) | Self::Freeze(role) | Self::Cut(role) => {
                let number = choose(cluster, role, rng)?;
                let service = &mut cluster.services[number];
                let remedy = match self {
                    Self::Freeze(_) => {
                        service.freeze();
                        Remedy::ThawService(number)
                    }
                    Self::Cut(_) => {
                        service.cut(any_cut(rng));
                        Remedy::HealService(number)
                    }
                    Self::Terminate(_) => {
                        service.terminate();
                        Remedy::StartService(number)
                    }
                    _ => {
                        service.kill9();
                        Remedy::StartService(number)
                    }
                };
                if service.is_down() && rng.bool() {
                    service.keep_copy();
                }
                (service.name.clone(), vec![(for_so_long, remedy)])
            }
            Self::WipeProcessor | Self::PutBackProcessor | Self::RestoreOldCheckpoint => {
                let number = choose(cluster, Role::Processor, rng)?;
                let puts_back = self == Self::PutBackProcessor;
                if puts_back && !cluster.services[number].has_copy() {
                    return None;
                }
                if self == Self::RestoreOldCheckpoint {
                    forget_newest_checkpoints(cluster.store.server.as_ref().filter(|_| cluster.store.is_well)?);
                }
                let service = &mut cluster.services[number];
                service.kill9();
                if puts_back {
                    service.put_back_copy();
                } else {
                    service.wipe();
                }
                (service.name.clone(), vec![(for_so_long, Remedy::StartService(number))])
            }
            Self::AddProcessor => {
                let number = cluster.add_extra(if rng.bool() { 'a' } else { 'b' })?;
                (cluster.services[number].name.clone(), vec![(Duration::ZERO, Remedy::StartService(number))])
            }
            Self::RemoveProcessor => {
                let number = *rng.choice(&cluster.extras())?;
                let service = &mut cluster.services[number];
                if rng.bool() {
                    service.terminate();
                } else {
                    service.kill9();
                }
                service.is_retired = true;
                (service.name.clone(), Vec::new())
            }
            Self::KillAllProcessors => {
                let all = cluster.well(Role::Processor);
                all.iter().for_each(|number| cluster.services[*number].kill9());
                let remedies = all.iter().map(|number| (outage(rng) / 4, Remedy::StartService(*number)));
                (format!("{all:?}"), remedies.collect())
            }
            Self::KillBroker | Self::StopBroker | Self::FreezeBroker | Self::CutBroker => {
                let number = rng.usize(..BROKERS);
                let remedy = self.harm_broker(cluster, number, rng)?;
                (number.to_string(), vec![(for_so_long, remedy)])
            }
            Self::CutApart => {
                if std::mem::replace(&mut cluster.is_apart_cut, true) {
                    return None;
                }
                cluster.brokers.cut_apart(any_cut(rng));
                (format!("{APART:?}"), vec![(for_so_long, Remedy::HealApart)])
            }
            Self::FreezeAllBrokers => {
                let first = self.harm_broker(cluster, 0, rng)?;
                let others = (1..BROKERS).map(|number| freeze_broker(&mut cluster.brokers, number));
                let remedies = std::iter::once(first).chain(others).map(|remedy| (for_so_long, remedy));
                (String::new(), remedies.collect())
            }
            Self::FreezeStore | Self::CutStore | Self::LoseStore => {
                (String::new(), vec![(for_so_long, self.harm_store(cluster, rng)?)])
            }
        };
        let remedies_said = remedies.iter().map(|(after, remedy)| format!("{remedy:?} after {after:.1?}"));
        let said = format!("{} {target}; {}", self.name(), remedies_said.collect::<Vec<_>>().join(", "));
        Some(Happened { said, remedies })
    }

    /// One broker at a time, and only where the others have everything.
    fn harm_broker(self, cluster: &mut Cluster, number: usize, rng: &mut Rng) -> Option<Remedy> {
        if cluster.is_broker_harmed || cluster.brokers.check_in_sync().is_err() {
            return None;
        }
        cluster.is_broker_harmed = true;
        let brokers = &mut cluster.brokers;
        Some(match self {
            Self::CutBroker => {
                brokers.proxy(number).cut(any_cut(rng));
                Remedy::HealBroker(number)
            }
            Self::FreezeBroker | Self::FreezeAllBrokers => freeze_broker(brokers, number),
            Self::StopBroker => {
                brokers.signal(number, "TERM").unwrap();
                Remedy::RestartBroker(number)
            }
            _ => {
                brokers.kill9(number).unwrap();
                Remedy::RestartBroker(number)
            }
        })
    }

    fn harm_store(self, cluster: &mut Cluster, rng: &mut Rng) -> Option<Remedy> {
        let store = &mut cluster.store;
        let server = store.server.as_ref().filter(|_| store.is_well)?;
        store.is_well = false;
        Some(match self {
            Self::FreezeStore => {
                server.freeze().unwrap();
                Remedy::ThawStore
            }
            Self::CutStore => {
                store.proxy.cut(any_cut(rng));
                Remedy::HealStore
            }
            _ => {
                store.server = None;
                Remedy::StartStore
            }
        })
    }

    /// As the summary has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill(Role::Processor) => "kill -9 processor",
            Self::Kill(Role::Ingest) => "kill -9 ingest",
            Self::Kill(Role::Query) => "kill -9 query",
            Self::Terminate(Role::Processor) => "SIGTERM processor",
            Self::Terminate(Role::Ingest) => "SIGTERM ingest",
            Self::Terminate(Role::Query) => "SIGTERM query",
            Self::Freeze(Role::Processor) => "SIGSTOP processor",
            Self::Freeze(Role::Ingest) => "SIGSTOP ingest",
            Self::Freeze(Role::Query) => "SIGSTOP query",
            Self::Cut(Role::Processor) => "cut off processor",
            Self::Cut(Role::Ingest) => "cut off ingest",
            Self::Cut(Role::Query) => "cut off query",
            Self::WipeProcessor => "wipe store",
            Self::PutBackProcessor => "put back old store",
            Self::RestoreOldCheckpoint => "lose store and newest checkpoints",
            Self::AddProcessor => "add processor",
            Self::RemoveProcessor => "remove processor",
            Self::KillAllProcessors => "kill -9 all processors",
            Self::KillBroker => "kill -9 broker",
            Self::StopBroker => "SIGTERM broker",
            Self::FreezeBroker => "SIGSTOP broker",
            Self::FreezeAllBrokers => "SIGSTOP all brokers",
            Self::CutBroker => "cut off broker",
            Self::CutApart => "cut off from Kafka alone",
            Self::FreezeStore => "SIGSTOP object store",
            Self::CutStore => "cut off object store",
            Self::LoseStore => "lose object store",
        }
    }
}

fn freeze_broker(brokers: &mut Brokers, number: usize) -> Remedy {
    brokers.signal(number, "STOP").unwrap();
    Remedy::ThawBroker(number)
}

/// One to which nothing happens. One ingest and one query service are left alone, so that there is somebody to talk to.
fn choose(cluster: &Cluster, role: Role, rng: &mut Rng) -> Option<usize> {
    let well = cluster.well(role);
    if role != Role::Processor && well.len() < 2 {
        return None;
    }
    rng.choice(&well).copied()
}

/// Mostly short; sometimes longer than the group of processors waits for a member.
fn outage(rng: &mut Rng) -> Duration {
    let longest_s = if rng.u8(..10) < 6 { 2.0 } else { 12.0 };
    Duration::from_secs_f64(longest_s * rng.f64())
}

fn any_cut(rng: &mut Rng) -> Cut {
    if rng.bool() { Cut::Reset } else { Cut::Silence }
}

/// Leaves the oldest checkpoint of each partition.
fn forget_newest_checkpoints(store: &S3) {
    let mut of_partition: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for key in store.keys("/manifests/").unwrap() {
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        of_partition.entry(folder).or_default().push(key);
    }
    for newer in of_partition.values().filter_map(|keys| keys.get(1..)) {
        newer.iter().for_each(|key| store.delete(key).unwrap());
    }
}
