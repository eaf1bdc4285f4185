//! `track processor`: a member of the group that folds the log.

use super::{brokers, owners};
use crate::admin::digest::States;
use crate::flags::{GroupProtocol, ProcessorFlags};
use crate::process::{self, Process};
use crate::server::Socket;
use bytesize::ByteSize;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use track_log::Bulletin;
use track_log::kafka::{KafkaAppender, KafkaBulletin, KafkaGroup, KafkaLog, Protocol, ensure_topics};
use track_processor::{Config, Processor};
use track_proto::topics;
use track_proto::v1::Owner;

/// Unless the operator says otherwise. How many partitions the group will give it is not known.
pub(crate) const MEMORY_BY_DEFAULT: ByteSize = ByteSize::mib(512);

/// Runs until the process is told to stop, everything is flushed and the group is left.
///
/// # Errors
/// What keeps it from starting, or a partition from going on.
pub(crate) async fn run(flags: ProcessorFlags, process: Process) -> anyhow::Result<()> {
    let socket = Socket::bind("grpc", "grpc-listen", flags.grpc_listen, process::acceptor(&flags.common.tls)?)?;
    let url = flags.advertised_url(socket.address());
    process.readiness.wait("processor", "starting");
    let states = States::default();
    process.serve_admin(&flags.common, Some(states.clone()))?;

    let kafka = flags.kafka.config();
    let open = {
        let kafka = kafka.clone();
        move || {
            ensure_topics(&kafka)?;
            let log = KafkaLog::open(&kafka)?;
            let dead_letters = KafkaAppender::open(&kafka, topics::DEAD_LETTER)?;
            let board = KafkaBulletin::open(&kafka, topics::OWNERS)?;
            Ok((Arc::new(log), Arc::new(dead_letters), Arc::new(board)))
        }
    };
    let Some((log, dead_letters, board)) = brokers::open(&process, "processor", open).await? else { return Ok(()) };
    // An url is one process's alone, and so makes a name.
    let instance = flags.instance().unwrap_or_else(|| url.split("//").last().unwrap_or(&url).to_owned());
    let config = flags.fold.config(flags.data_dir.clone(), instance.clone(), MEMORY_BY_DEFAULT);
    let config = Config { warm_within: flags.warm, ..config };
    let processor = Processor::open(config, log, dead_letters, process.clock.clone())?;
    states.open(&processor);
    process.readiness.watch("processor", {
        let processor = processor.clone();
        move || processor.check_ready()
    });

    let protocol = match flags.group_protocol {
        GroupProtocol::Consumer => Protocol::Consumer,
        GroupProtocol::Classic => Protocol::Classic,
    };
    let group = Arc::new(KafkaGroup::new(&kafka, &flags.group(), flags.instance_id.clone(), protocol));
    let (stop_folding, stop_serving) = (CancellationToken::new(), CancellationToken::new());
    println!("track processor listens on {} for the query service", socket.url());
    let serving = socket.listen()?.serve(processor.service(), stop_serving.clone(), flags.common.drain_timeout);
    let serving = tokio::spawn(serving);
    let replica = flags.replica.unwrap_or_default();
    let _following = match flags.warm {
        Some(_) => Some(board.follow(owners::reader(heirs(&processor, instance, &replica), process.clock.clone()))?),
        None => None,
    };
    let mut folding = tokio::spawn(processor.clone().run(group, stop_folding.clone()));
    let telling = {
        let stop = stop_serving.clone();
        let owner = move || Owner { replica: replica.clone(), ..processor.owner(&url) };
        tokio::spawn(owners::tell(board as Arc<dyn Bulletin>, owner, stop))
    };

    // Where folding ends by itself, a partition can't go on: that is said once the rest has been put in order.
    let ended = tokio::select! {
        () = process.stop.cancelled() => None,
        ended = &mut folding => Some(ended),
    };
    process.readiness.wait("processor", "stopping");
    states.close();
    let ended = match (ended, flags.warm) {
        // First no more partitions: what was ours is answered from until others serve it.
        (None, Some(_)) => {
            stop_folding.cancel();
            Some((&mut folding).await)
        }
        (ended, _) => ended,
    };
    // Else first no more questions.
    stop_serving.cancel();
    telling.await?;
    serving.await?;
    stop_folding.cancel();
    match ended {
        Some(ended) => ended??,
        None => folding.await??,
    }
    Ok(())
}

/// Hands on what the others of the same replica say of themselves.
fn heirs(
    processor: &Processor,
    instance: String,
    replica: &str,
) -> impl FnMut(String, Option<Owner>, Instant) + Send + 'static {
    let (processor, replica) = (processor.clone(), replica.to_owned());
    move |who, said, heard| {
        let is_of_ours = said.as_ref().is_none_or(|owner| owner.replica == replica);
        if is_of_ours && who != instance {
            processor.hear(&who, said.as_ref(), heard.into_std());
        }
    }
}
