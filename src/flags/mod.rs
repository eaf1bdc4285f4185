//! The flags of each role, in groups that roles share. What a value may look like stands in [`values`].

mod checkpoints;
mod compare;
mod fold;
mod kafka;
mod listen;
mod load;
mod spool;
mod status;
mod values;

pub(crate) use checkpoints::CheckpointFlags;
pub(crate) use compare::{DigestFlags, Side, VerifyFlags};
pub(crate) use fold::FoldFlags;
pub(crate) use kafka::{BrokerFlags, GroupProtocol, KafkaFlags};
pub(crate) use listen::{CommonFlags, LogFlags, LogFormat, PublicFlags, TlsFlags};
pub(crate) use load::{LoadFlags, Target};
pub(crate) use spool::SpoolFlags;
pub(crate) use status::StatusFlags;

use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything in one process.
#[derive(Debug, Clone, Args)]
pub(crate) struct StandaloneFlags {
    #[command(flatten)]
    pub(crate) public: PublicFlags,
    /// The folder of the log and of the state. One process at a time.
    #[arg(long, env = "TRACK_DATA_DIR", value_name = "FOLDER", default_value = "./track-data")]
    pub(crate) data_dir: PathBuf,
    /// How many partitions the log has: threads that fold. Fixed when the data folder is made; default: one for each core
    /// that it may use when it makes it, at most 16.
    #[arg(long, env = "TRACK_PARTITIONS", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) partitions: Option<u32>,
    #[command(flatten)]
    pub(crate) fold: FoldFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

/// Takes events.
#[derive(Debug, Clone, Args)]
pub(crate) struct IngestFlags {
    #[command(flatten)]
    pub(crate) public: PublicFlags,
    #[command(flatten)]
    pub(crate) spool: SpoolFlags,
    #[command(flatten)]
    pub(crate) kafka: KafkaFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

/// Folds them.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProcessorFlags {
    /// Where queries are answered over gRPC, for the query service alone. Port 0 picks a free one.
    #[arg(long, env = "TRACK_GRPC_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8082", value_parser = values::address)]
    pub(crate) grpc_listen: SocketAddr,
    /// Where the query service reaches --grpc-listen, http://processor-1:8082 for example. Default: the address itself.
    #[arg(long, env = "TRACK_ADVERTISE_URL", value_name = "URL", value_parser = values::url)]
    pub(crate) advertise_url: Option<String>,
    /// The folder of the state. One process at a time; may be lost, at the cost of reading the log again.
    #[arg(long, env = "TRACK_DATA_DIR", value_name = "FOLDER", default_value = "./track-data")]
    pub(crate) data_dir: PathBuf,
    /// A name for this process that outlives restarts: then it gets its partitions back, and the group does not
    /// share them out anew while it is away for a moment. No two processes may have the same.
    #[arg(long, env = "TRACK_INSTANCE_ID", value_name = "NAME", value_parser = values::name)]
    pub(crate) instance_id: Option<String>,
    /// The consumer group whose members share the partitions.
    #[arg(long, env = "TRACK_GROUP", value_name = "NAME", default_value = "track-processor", value_parser = values::name)]
    pub(crate) group: String,
    /// Makes this process part of a replica: a second group, <GROUP>-<REPLICA>, that folds every partition again.
    #[arg(long, env = "TRACK_REPLICA", value_name = "NAME", value_parser = values::name)]
    pub(crate) replica: Option<String>,
    /// Warm moves: a partition that goes to another processor is answered from here until that one serves it, but no longer
    /// than this: --warm is --warm=1m. A clean stop waits for it. Default: not answered from the moment it goes.
    #[arg(long, env = "TRACK_WARM", value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "1m", value_parser = values::timeout)]
    pub(crate) warm: Option<Duration>,
    /// How the group shares partitions: consumer needs Kafka 4; classic is for older brokers.
    #[arg(long, env = "TRACK_GROUP_PROTOCOL", value_name = "PROTOCOL", value_enum, default_value = "consumer")]
    pub(crate) group_protocol: GroupProtocol,
    #[command(flatten)]
    pub(crate) fold: FoldFlags,
    #[command(flatten)]
    pub(crate) kafka: KafkaFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

impl ProcessorFlags {
    /// What no single flag can say.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.grpc_listen.ip().is_unspecified() && self.advertise_url.is_none() {
            return Err(format!(
                "--advertise-url is needed with --grpc-listen {}: say where the query service reaches this processor, \
                 http://processor-1:{} for example",
                self.grpc_listen,
                self.grpc_listen.port()
            ));
        }
        Ok(())
    }

    /// The group, that of the replica where it is one.
    pub(crate) fn group(&self) -> String {
        self.with_replica(&self.group)
    }

    /// The name on the board of owners, where it was given one: apart from its twin's in another replica.
    pub(crate) fn instance(&self) -> Option<String> {
        self.instance_id.as_ref().map(|name| self.with_replica(name))
    }

    /// Where queries reach a listener that got this address.
    pub(crate) fn advertised_url(&self, address: SocketAddr) -> String {
        let scheme = if self.common.tls.tls_cert.is_some() { "https" } else { "http" };
        self.advertise_url.clone().unwrap_or_else(|| format!("{scheme}://{address}"))
    }

    fn with_replica(&self, name: &str) -> String {
        match &self.replica {
            None => name.to_owned(),
            Some(replica) => format!("{name}-{replica}"),
        }
    }
}

/// Answers.
#[derive(Debug, Clone, Args)]
pub(crate) struct QueryFlags {
    #[command(flatten)]
    pub(crate) public: PublicFlags,
    /// From a query to its answer.
    #[arg(long, env = "TRACK_QUERY_TIMEOUT", value_name = "DURATION", default_value = "5s", value_parser = values::timeout)]
    pub(crate) query_timeout: Duration,
    #[command(flatten)]
    pub(crate) trust: TrustFlags,
    #[command(flatten)]
    pub(crate) kafka: KafkaFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

/// Whom a client of processors believes.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrustFlags {
    /// Certificates (PEM) of those who vouch for processors with an https:// url. Default: the system's.
    #[arg(long, env = "TRACK_TLS_CA", value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
}

/// Puts dead letters back.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayFlags {
    /// Say what would be done, and do nothing.
    #[arg(long, env = "TRACK_DRY_RUN")]
    pub(crate) dry_run: bool,
    /// Instead of Kafka: the data folder of a track that ran all in one process and is stopped now.
    #[arg(long, env = "TRACK_STANDALONE_DATA_DIR", value_name = "FOLDER")]
    pub(crate) standalone_data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) brokers: BrokerFlags,
    #[command(flatten)]
    pub(crate) log: LogFlags,
}
