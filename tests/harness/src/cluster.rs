//! Track as services: ingest, two processors and query, on one Kafka.

use crate::broker::{Broker, PASSWORD};
use crate::brokers::{BROKERS, Brokers};
use crate::http::Request;
use crate::poll::eventually;
use crate::track::{Start, Track};
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use track_proto::v1::partitions_client::PartitionsClient;
use track_proto::v1::{PartitionState, StatusRequest};

/// From the last start of a processor to the end of the group's moving partitions about.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// The services of one cluster. Each can be taken out and put back.
#[derive(Debug)]
pub struct Cluster {
    /// Takes events.
    pub ingest: Track,
    /// Fold them.
    pub processors: Vec<Track>,
    /// Answers.
    pub query: Track,
    plan: Plan,
}

/// How the services of a cluster are started.
#[derive(Debug, Clone)]
pub struct Plan {
    binary: PathBuf,
    brokers: String,
    partitions: u32,
    flags: Vec<(String, String)>,
    processor_flags: Vec<(String, String)>,
    dir: PathBuf,
}

impl Plan {
    /// Services on this broker's listener in the clear, with 12 partitions, and with their data in `dir`.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, broker: &Broker, dir: &Path) -> Self {
        Self {
            binary: binary.into(),
            brokers: broker.bootstrap(),
            partitions: 12,
            flags: Vec::new(),
            processor_flags: Vec::new(),
            dir: dir.to_owned(),
        }
    }

    /// Services on three brokers, which hold each of their topics.
    #[must_use]
    pub fn replicated(binary: impl Into<PathBuf>, brokers: &Brokers, dir: &Path) -> Self {
        Self {
            binary: binary.into(),
            brokers: brokers.bootstrap(),
            partitions: 12,
            flags: vec![("--replication-factor".to_owned(), BROKERS.to_string())],
            processor_flags: Vec::new(),
            dir: dir.to_owned(),
        }
    }

    /// The same, standing apart from others of these brokers.
    #[must_use]
    pub fn apart(&self, brokers: &Brokers) -> Self {
        Self { brokers: brokers.bootstrap_apart(), ..self.clone() }
    }

    /// With another number of partitions.
    #[must_use]
    pub fn partitions(self, partitions: u32) -> Self {
        Self { partitions, ..self }
    }

    /// On the broker's secured listener, with SCRAM.
    #[must_use]
    pub fn secured(mut self, broker: &Broker) -> Self {
        self.brokers = broker.secured_bootstrap();
        for (name, value) in broker.secured_properties("SCRAM-SHA-512", PASSWORD) {
            self.flags.push(("--kafka-property".to_owned(), format!("{name}={value}")));
        }
        self
    }

    /// With one more flag for every processor.
    #[must_use]
    pub fn processor_flag(mut self, name: &str, value: &str) -> Self {
        self.processor_flags.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How a role is started.
    #[must_use]
    pub fn role(&self, role: &'static str) -> Start {
        let start = Start::new(&self.binary, Some(role), &self.dir)
            .flag("--kafka-brokers", &self.brokers)
            .flag("--partitions", &self.partitions.to_string());
        self.flags.iter().fold(start, |start, (name, value)| start.flag(name, value))
    }

    /// How a processor of this name is started. Its data is its own, and where it was the last time.
    #[must_use]
    pub fn processor(&self, name: &str) -> Start {
        let start = self
            .role("processor")
            .flag("--data-dir", &self.dir.join(name).to_string_lossy())
            .flag("--instance-id", name);
        self.processor_flags.iter().fold(start, |start, (name, value)| start.flag(name, value))
    }

    /// Starts all services and waits until [`Cluster::wait_settled`]. The topics must be new.
    ///
    /// # Errors
    /// Where a service ends or is not ready in time.
    pub fn start(self) -> Result<Cluster> {
        let ingest = self.role("ingest").ready()?;
        let processors = vec![self.processor("processor-0").spawn()?, self.processor("processor-1").spawn()?];
        let query = self.role("query").spawn()?;
        for service in processors.iter().chain([&query]) {
            service.wait_ready()?;
        }
        let cluster = Cluster { ingest, processors, query, plan: self };
        cluster.wait_settled()?;
        Ok(cluster)
    }
}

impl Cluster {
    /// How its services are started.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Waits until each processor has its share of the partitions, and the query service knows: from then on nothing
    /// is refused, unless something goes away.
    ///
    /// # Errors
    /// Where that takes too long.
    pub fn wait_settled(&self) -> Result<()> {
        eventually(SETTLED_WITHIN, "the partitions are shared out", || {
            shares(&self.processors, self.plan.partitions).map(drop)
        })?;
        // Whoever answered for a partition before has said that it does not any more: an answer is from those of now.
        eventually(SETTLED_WITHIN, "all partitions answer", || {
            let answer =
                Request::get("/metrics?start_date=1970-01-01&end_date=1970-01-01").send(self.query.public())?;
            ensure!(answer.status == 200, "{answer}");
            Ok(())
        })
    }

    /// Stops all services with SIGTERM, those that take events first.
    ///
    /// # Errors
    /// Where one does not end with exit code 0, or has panicked.
    pub fn terminate(self) -> Result<()> {
        self.ingest.terminate()?;
        self.query.terminate()?;
        self.processors.into_iter().try_for_each(Track::terminate)
    }
}

/// How many of the partitions each of these processors serves.
///
/// # Errors
/// Where one has none, or a partition is not served, or twice.
pub fn shares<'t>(processors: impl IntoIterator<Item = &'t Track>, partitions: u32) -> Result<Vec<usize>> {
    let shares = processors.into_iter().map(serving).collect::<Result<Vec<_>>>()?;
    ensure!(shares.iter().all(|share| !share.is_empty()), "somebody has none: {shares:?}");
    let sizes: Vec<_> = shares.iter().map(BTreeSet::len).collect();
    let all: BTreeSet<_> = shares.into_iter().flatten().collect();
    ensure!(
        all.len() == sizes.iter().sum::<usize>() && all.iter().copied().eq(0..partitions),
        "only {all:?} are served"
    );
    Ok(sizes)
}

/// The partitions that a processor serves, as it says itself.
///
/// # Errors
/// Where it does not answer.
pub fn serving(processor: &Track) -> Result<BTreeSet<u32>> {
    in_state(processor, PartitionState::Serving)
}

/// The partitions that a processor has in this state, as it says itself.
///
/// # Errors
/// Where it does not answer.
pub fn in_state(processor: &Track, state: PartitionState) -> Result<BTreeSet<u32>> {
    let url = format!("http://{}", processor.grpc().context("not a processor")?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        PartitionsClient::connect(url).await?.status(StatusRequest {}).await.map_err(anyhow::Error::from)
    })?;
    let partitions = status.into_inner().partitions;
    Ok(partitions.iter().filter(|status| status.state() == state).map(|status| status.partition).collect())
}
