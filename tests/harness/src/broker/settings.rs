//! What a test broker is set to.

use super::{PASSWORD, USER};
use std::fmt::Write as _;
use std::path::Path;

/// Lines for whoever is broker and controller in one process, and has `replicas` of everything: whatever waits for a
/// fuller cluster or a slower network does not.
pub(crate) fn shared(node: u32, dir: &Path, controllers: &str, replicas: u32) -> String {
    // With three, one may be away.
    let in_sync = if replicas >= 3 { 2 } else { 1 };
    let (replicas, in_sync) = (&*replicas.to_string(), &*in_sync.to_string());
    let mut settings = format!(
        "process.roles=broker,controller\n\
         node.id={node}\n\
         controller.quorum.bootstrap.servers={controllers}\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=PLAIN\n\
         log.dirs={}/data\n",
        dir.display()
    );
    for (name, value) in [
        ("auto.create.topics.enable", "false"),
        ("default.replication.factor", replicas),
        ("min.insync.replicas", in_sync),
        ("offsets.topic.replication.factor", replicas),
        ("offsets.topic.num.partitions", "1"),
        ("transaction.state.log.replication.factor", replicas),
        ("transaction.state.log.min.isr", in_sync),
        ("transaction.state.log.num.partitions", "1"),
        ("share.coordinator.state.topic.replication.factor", replicas),
        ("share.coordinator.state.topic.min.isr", in_sync),
        ("broker.session.timeout.ms", "3000"),
        ("broker.heartbeat.interval.ms", "500"),
        ("replica.lag.time.max.ms", "5000"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("group.min.session.timeout.ms", "1000"),
        ("group.consumer.min.heartbeat.interval.ms", "100"),
        ("group.consumer.heartbeat.interval.ms", "300"),
        ("group.consumer.min.session.timeout.ms", "1000"),
        ("group.consumer.session.timeout.ms", "6000"),
        ("log.initial.task.delay.ms", "500"),
        ("log.retention.check.interval.ms", "500"),
        ("num.recovery.threads.per.data.dir", "1"),
    ] {
        let _ = writeln!(settings, "{name}={value}");
    }
    settings
}

/// Lines for a listener `SECURED` with TLS and SASL.
pub(super) fn secured(dir: &Path) -> String {
    let (dir, mut settings) = (dir.display(), String::new());
    let login = "org.apache.kafka.common.security";
    for (name, value) in [
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.location", &format!("{dir}/broker.pem")),
        ("sasl.enabled.mechanisms", "SCRAM-SHA-512,PLAIN,OAUTHBEARER"),
        ("scram-sha-512.sasl.jaas.config", &format!("{login}.scram.ScramLoginModule required;")),
        ("plain.sasl.jaas.config", &format!("{login}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";")),
        // Takes tokens without a signature: it is the client's side that is being tested.
        (
            "oauthbearer.sasl.jaas.config",
            &format!("{login}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"{USER}\";"),
        ),
    ] {
        let _ = writeln!(settings, "listener.name.secured.{name}={value}");
    }
    settings
}
