//! What runs: three brokers, an object store, and track's services on them.

use crate::TRACK;
use crate::door::Door;
use crate::service::{Role, Service};
use anyhow::{Context as _, ensure};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use track_harness::brokers::Brokers;
use track_harness::cluster::{self, Plan};
use track_harness::poll::eventually;
use track_harness::proxy::Proxy;
use track_harness::s3::{S3, checkpoints_at};

/// Of `track.events`.
pub const PARTITIONS: u32 = 6;
/// Those who may be cut off from Kafka while the others are not.
pub const APART: [&str; 3] = ["ingest-1", "a1", "query-1"];
/// The ingest that has a spool.
const SPOOLING: &str = "ingest-2";
/// How long the processors that have `--warm` answer from what they lose.
const WARM: &str = "--warm=10s";
/// Beside the processors that are always there.
const EXTRA_MAX: usize = 2;
/// From the last start to everybody's being ready: states may have to be folded again.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// Dropped, it ends in this order: services before what they need.
pub struct Cluster {
    pub services: Vec<Service>,
    pub brokers: Brokers,
    /// Something happens to a broker, or has happened so lately that it is not back yet.
    pub is_broker_harmed: bool,
    /// [`APART`] are cut off from Kafka.
    pub is_apart_cut: bool,
    pub store: ObjectStore,
    plan: Plan,
    dir: PathBuf,
    extras: usize,
}

/// The object store, and the way to it.
pub struct ObjectStore {
    /// Gone where this is missing, with all that was in it.
    pub server: Option<S3>,
    pub proxy: Proxy,
    pub is_well: bool,
}

impl Cluster {
    /// Starts everything and waits until it is ready.
    pub fn start(dir: &Path) -> Self {
        let brokers = Brokers::start().unwrap();
        let server = S3::start().unwrap();
        let store =
            ObjectStore { proxy: Proxy::start(Some(server.address())).unwrap(), server: Some(server), is_well: true };
        let plan = Plan::replicated(TRACK, &brokers, dir).partitions(PARTITIONS);
        let mut cluster = Self {
            brokers,
            is_broker_harmed: false,
            is_apart_cut: false,
            store,
            services: Vec::new(),
            plan,
            dir: dir.to_owned(),
            extras: 0,
        };
        for name in ["ingest-0", "ingest-1", SPOOLING] {
            let (start, proxy) = (cluster.plan_of(name).role("ingest"), Proxy::start(None).unwrap());
            let ingest = Service::new(name, Role::Ingest, start, Some(proxy), None);
            let ingest = if name == SPOOLING { ingest.spooling_in(&dir.join("spool")) } else { ingest };
            cluster.services.push(ingest);
        }
        for name in ["a0", "a1", "b0", "b1"] {
            cluster.add_processor(name);
        }
        for name in ["query-0", "query-1"] {
            let start = cluster.plan_of(name).role("query");
            cluster.services.push(Service::new(name, Role::Query, start, None, None));
        }
        cluster.services.iter_mut().for_each(Service::begin);
        cluster.wait_ready();
        cluster.brokers.wait_in_sync().unwrap();
        cluster
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    fn plan_of(&self, name: &str) -> Plan {
        if APART.contains(&name) { self.plan.apart(&self.brokers) } else { self.plan.clone() }
    }

    pub fn ingest_doors(&self) -> Vec<Arc<Door>> {
        self.doors(Role::Ingest)
    }

    pub fn query_doors(&self) -> Vec<Arc<Door>> {
        self.doors(Role::Query)
    }

    fn doors(&self, role: Role) -> Vec<Arc<Door>> {
        self.services.iter().filter(|service| service.role == role).map(Service::door).collect()
    }

    /// One more processor of either replica, where there is room for it. Its number among the services.
    pub fn add_extra(&mut self, replica: char) -> Option<usize> {
        let there = self.services.iter().filter(|service| is_extra(service) && !service.is_retired).count();
        if there >= EXTRA_MAX {
            return None;
        }
        let name = format!("{replica}{}", self.extras + 2);
        self.extras += 1;
        self.add_processor(&name);
        Some(self.services.len() - 1)
    }

    /// The extra processors that are well.
    pub fn extras(&self) -> Vec<usize> {
        self.numbers(|service| is_extra(service) && service.is_well())
    }

    /// Those to which nothing happens.
    pub fn well(&self, role: Role) -> Vec<usize> {
        self.numbers(|service| service.role == role && service.is_well())
    }

    fn numbers(&self, which: impl Fn(&Service) -> bool) -> Vec<usize> {
        let services = self.services.iter().enumerate();
        services.filter(|(_, service)| which(service)).map(|(number, _)| number).collect()
    }

    /// A processor, the first letter of whose name says its replica; those with odd numbers move warm.
    fn add_processor(&mut self, name: &str) {
        let proxy = Proxy::start(None).unwrap();
        let start = self.plan_of(name).processor(name).flag("--advertise-url", &format!("http://{}", proxy.address()));
        let start = start.flag("--memory", "64MiB").flag("--checkpoint-interval", "5s");
        let start = checkpoints_at(self.store.proxy.address(), start, "chaos");
        let start = if name.starts_with('b') { start.flag("--replica", "b") } else { start };
        let is_warm = name.bytes().last().is_some_and(|digit| digit % 2 == 1);
        let start = if is_warm { start.switch(WARM) } else { start };
        let folder = self.dir.join(name);
        self.services.push(Service::new(name, Role::Processor, start, Some(proxy), Some(folder)));
    }

    /// Sees how everything is.
    pub fn tick(&mut self) {
        self.services.iter_mut().for_each(Service::tick);
    }

    /// Waits until everybody who is meant to be there is ready.
    pub fn wait_ready(&mut self) {
        eventually(READY_WITHIN, "everybody is ready", || {
            self.tick();
            for service in self.services.iter().filter(|service| !service.is_retired) {
                let Some(track) = service.track() else { anyhow::bail!("{} is not up", service.name) };
                let answer = track.ask_admin("/readyz")?;
                ensure!(answer.status == 200, "{}: {answer}", service.name);
            }
            Ok(())
        })
        .unwrap();
    }

    /// Waits until each replica's processors have their shares of the partitions, one neither more nor less than fair: then
    /// the group has no reason to move any.
    pub fn wait_settled(&mut self) {
        eventually(READY_WITHIN, "the partitions are shared out", || {
            self.tick();
            for replica in ['a', 'b'] {
                let processors = self.services.iter().filter(|service| is_processor_of(service, replica));
                let up =
                    processors.map(|service| service.track().with_context(|| format!("{} is not up", service.name)));
                let up = up.collect::<anyhow::Result<Vec<_>>>()?;
                let sizes = cluster::shares(up, PARTITIONS)?;
                let is_fair = sizes.iter().max() <= sizes.iter().min().map(|fewest| fewest + 1).as_ref();
                ensure!(is_fair, "not shared fairly: {sizes:?} of {replica}");
            }
            Ok(())
        })
        .unwrap();
    }

    /// Waits until nothing is left in the spool.
    pub fn wait_forwarded(&mut self) {
        eventually(READY_WITHIN, "what was spooled is on the log", || {
            self.tick();
            for service in self.services.iter().filter(|service| service.door().has_spool) {
                let Some(track) = service.track() else { anyhow::bail!("{} is not up", service.name) };
                let ready = track.ask_admin("/readyz")?.json()?;
                ensure!(ready["rooms"]["ingest"] == "ready", "{}: {ready}", service.name);
            }
            Ok(())
        })
        .unwrap();
    }

    /// Waits until those who were taken away are gone.
    pub fn wait_retired(&mut self) {
        eventually(READY_WITHIN, "who was taken away is gone", || {
            self.tick();
            let left = self.services.iter().find(|service| service.is_retired && !service.is_down());
            ensure!(left.is_none(), "{} is not", left.map_or("", |service| &service.name));
            Ok(())
        })
        .unwrap();
    }
}

fn is_processor_of(service: &Service, replica: char) -> bool {
    service.role == Role::Processor && !service.is_retired && service.name.starts_with(replica)
}

fn is_extra(service: &Service) -> bool {
    service.role == Role::Processor && !["a0", "a1", "b0", "b1"].contains(&&*service.name)
}
