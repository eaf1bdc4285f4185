//! What is done later about what has happened.

use crate::cluster::Cluster;
use track_harness::s3::S3;

/// What ends a harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    StartService(usize),
    ThawService(usize),
    HealService(usize),
    RestartBroker(usize),
    ThawBroker(usize),
    HealBroker(usize),
    HealApart,
    ThawStore,
    HealStore,
    StartStore,
}

impl Remedy {
    /// Whether it is a broker that it brings back.
    pub fn is_of_broker(self) -> bool {
        matches!(self, Self::HealBroker(_) | Self::RestartBroker(_) | Self::ThawBroker(_))
    }

    /// Ends the harm; false where that can't be done yet.
    pub fn apply(self, cluster: &mut Cluster) -> bool {
        match self {
            // It may still be stopping.
            Self::StartService(number) if !cluster.services[number].is_down() => return false,
            Self::StartService(number) => cluster.services[number].begin(),
            Self::ThawService(number) => cluster.services[number].thaw(),
            Self::HealService(number) => cluster.services[number].heal(),
            Self::RestartBroker(number) => cluster.brokers.restart(number).unwrap(),
            Self::ThawBroker(number) => cluster.brokers.signal(number, "CONT").unwrap(),
            Self::HealBroker(number) => cluster.brokers.proxy(number).heal(),
            Self::HealApart => {
                cluster.brokers.heal_apart();
                cluster.is_apart_cut = false;
            }
            Self::ThawStore => cluster.store.server.iter().for_each(|server| server.unfreeze().unwrap()),
            Self::HealStore => cluster.store.proxy.heal(),
            Self::StartStore => {
                let server = S3::start().unwrap();
                cluster.store.proxy.aim(server.address());
                cluster.store.server = Some(server);
            }
        }
        if [Self::ThawStore, Self::HealStore, Self::StartStore].contains(&self) {
            cluster.store.is_well = true;
        }
        true
    }
}
