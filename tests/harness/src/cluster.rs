//! Track as services: ingest, two processors and query, on one Kafka.

use crate::broker::Broker;
use crate::track::{Start, Track};
use anyhow::Result;
use std::path::{Path, PathBuf};

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
    partitions: String,
    dir: PathBuf,
}

impl Starts {
    fn role(&self, role: &'static str) -> Start {
        Start::new(&self.binary, Some(role), &self.dir)
            .flag("--kafka-brokers", &self.brokers)
            .flag("--partitions", &self.partitions)
    }

    fn processor(&self, number: usize) -> Start {
        let data_dir = self.dir.join(format!("processor-{number}"));
        self.role("processor")
            .flag("--data-dir", &data_dir.to_string_lossy())
            .flag("--instance-id", &format!("processor-{number}"))
    }
}

impl Cluster {
    /// Starts all services, with their data in `dir`, and waits until each is ready. The topics must be new.
    ///
    /// # Errors
    /// Where a service ends or is not ready in time.
    pub fn start(binary: impl Into<PathBuf>, broker: &Broker, partitions: u32, dir: &Path) -> Result<Self> {
        let starts = Starts {
            binary: binary.into(),
            brokers: broker.bootstrap(),
            partitions: partitions.to_string(),
            dir: dir.to_owned(),
        };
        let ingest = starts.role("ingest").ready()?;
        let processors = vec![starts.processor(0).spawn()?, starts.processor(1).spawn()?];
        let query = starts.role("query").spawn()?;
        for service in processors.iter().chain([&query]) {
            service.wait_ready()?;
        }
        Ok(Self { ingest, processors, query, starts })
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
