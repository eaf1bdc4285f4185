//! Track as services: ingest, two processors and query, on one Kafka.

use crate::broker::Broker;
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
    starts: Starts,
}

#[derive(Debug)]
struct Starts {
    binary: PathBuf,
    brokers: String,
    partitions: u32,
    dir: PathBuf,
}

impl Starts {
    fn role(&self, role: &'static str) -> Start {
        Start::new(&self.binary, Some(role), &self.dir)
            .flag("--kafka-brokers", &self.brokers)
            .flag("--partitions", &self.partitions.to_string())
    }

    fn processor(&self, number: usize) -> Start {
        let data_dir = self.dir.join(format!("processor-{number}"));
        self.role("processor")
            .flag("--data-dir", &data_dir.to_string_lossy())
            .flag("--instance-id", &format!("processor-{number}"))
    }
}

impl Cluster {
    /// Starts all services, with their data in `dir`, and waits until [`Cluster::wait_settled`]. The topics must be new.
    ///
    /// # Errors
    /// Where a service ends or is not ready in time.
    pub fn start(binary: impl Into<PathBuf>, broker: &Broker, partitions: u32, dir: &Path) -> Result<Self> {
        let starts = Starts { binary: binary.into(), brokers: broker.bootstrap(), partitions, dir: dir.to_owned() };
        let ingest = starts.role("ingest").ready()?;
        let processors = vec![starts.processor(0).spawn()?, starts.processor(1).spawn()?];
        let query = starts.role("query").spawn()?;
        for service in processors.iter().chain([&query]) {
            service.wait_ready()?;
        }
        let cluster = Self { ingest, processors, query, starts };
        cluster.wait_settled()?;
        Ok(cluster)
    }

    /// Waits until each processor has its share of the partitions, and the query service knows: from then on nothing
    /// is refused, unless something goes away.
    ///
    /// # Errors
    /// Where that takes too long.
    pub fn wait_settled(&self) -> Result<()> {
        eventually(SETTLED_WITHIN, "the partitions are shared out", || {
            let mut shares = self.processors.iter().map(serving).collect::<Result<Vec<_>>>()?;
            ensure!(shares.iter().all(|share| !share.is_empty()), "somebody has none: {shares:?}");
            let (count, mut all) = (shares.iter().map(BTreeSet::len).sum::<usize>(), BTreeSet::new());
            shares.iter_mut().for_each(|share| all.append(share));
            ensure!(all.len() == count && all.iter().copied().eq(0..self.starts.partitions), "only {all:?} are served");
            Ok(())
        })?;
        // Whoever answered for a partition before has said that it does not any more: an answer is from those of now.
        eventually(SETTLED_WITHIN, "all partitions answer", || {
            let answer =
                Request::get("/metrics?start_date=1970-01-01&end_date=1970-01-01").send(self.query.public())?;
            ensure!(answer.status == 200, "{answer}");
            Ok(())
        })
    }

    /// How one of the processors is started, `number` being its place; its data is where it was.
    #[must_use]
    pub fn processor(&self, number: usize) -> Start {
        self.starts.processor(number)
    }

    /// How ingest is started.
    #[must_use]
    pub fn ingest(&self) -> Start {
        self.starts.role("ingest")
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

/// The partitions that a processor serves, as it says itself.
fn serving(processor: &Track) -> Result<BTreeSet<u32>> {
    let url = format!("http://{}", processor.grpc().context("not a processor")?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        PartitionsClient::connect(url).await?.status(StatusRequest {}).await.map_err(anyhow::Error::from)
    })?;
    let partitions = status.into_inner().partitions;
    Ok(partitions
        .iter()
        .filter(|status| status.state() == PartitionState::Serving)
        .map(|status| status.partition)
        .collect())
}
