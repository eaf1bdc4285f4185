//! Three real Kafka brokers, each a controller too: everything is on all of them, and one may be away.
//!
//! Each has a [`Proxy`] before the port that it tells clients and the other brokers of: where that is cut, nobody reaches the
//! broker, while it still reaches the others and the controllers take it for alive. A second port, behind a proxy of its own, is
//! for clients who stand apart: they can be cut off from all brokers while everybody else reaches them.

use crate::broker::node::{Node, free_ports};
use crate::broker::{READY_WITHIN, START_ATTEMPTS, asker, settings};
use crate::poll::eventually;
use crate::proxy::{Cut, Proxy};
use anyhow::{Context as _, Result, bail, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::resume_unwind;
use std::time::Duration;

/// How many there are.
pub const BROKERS: usize = 3;

/// The names of their data folders, by which the controllers know each other before they have met.
const DIRECTORIES: [&str; BROKERS] = ["dHJhY2stdGVzdHMtbm9kMQ", "dHJhY2stdGVzdHMtbm9kMg", "dHJhY2stdGVzdHMtbm9kMw"];
const HEAP: &str = "384m";
const ASKED_WITHIN: Duration = Duration::from_secs(2);

/// The brokers, numbered from 0. Dropped, they are killed and their folders removed.
pub struct Brokers {
    members: [Member; BROKERS],
    asker: BaseConsumer,
}

struct Member {
    node: Node,
    proxy: Proxy,
    proxy_apart: Proxy,
}

impl Brokers {
    /// Starts all of them and waits until they are one cluster.
    ///
    /// # Errors
    /// Where Java or the jars are missing, or they did not start; with the end of a log.
    pub fn start() -> Result<Self> {
        let mut attempt = 1;
        loop {
            let mut brokers = Self::format()?;
            match brokers.start_all() {
                Err(_) if attempt < START_ATTEMPTS => attempt += 1,
                done => return done.map(|()| brokers),
            }
        }
    }

    /// `bootstrap.servers` of all of them.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        bootstrap(self.members.iter().map(|member| &member.proxy))
    }

    /// `bootstrap.servers` of all of them, for clients who stand apart.
    #[must_use]
    pub fn bootstrap_apart(&self) -> String {
        bootstrap(self.members.iter().map(|member| &member.proxy_apart))
    }

    /// Cuts off the clients who stand apart from all brokers, until [`Brokers::heal_apart`].
    pub fn cut_apart(&self, cut: Cut) {
        self.members.iter().for_each(|member| member.proxy_apart.cut(cut));
    }

    /// How many connections they have made since they were cut off in silence.
    #[must_use]
    pub fn knocking_apart(&self) -> usize {
        self.members.iter().map(|member| member.proxy_apart.knocking()).sum()
    }

    /// Lets them through again.
    pub fn heal_apart(&self) {
        self.members.iter().for_each(|member| member.proxy_apart.heal());
    }

    /// The way to one of them.
    #[must_use]
    pub fn proxy(&self, number: usize) -> &Proxy {
        &self.members[number].proxy
    }

    /// Sends one a signal by its name: `STOP` and `CONT`, `KILL`, or `TERM` for a stop in good order.
    ///
    /// # Errors
    /// Where it is not running.
    pub fn signal(&mut self, number: usize, name: &str) -> Result<()> {
        self.members[number].node.signal(name)
    }

    /// Kills one as a power cut would.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn kill9(&mut self, number: usize) -> Result<()> {
        self.members[number].node.end("KILL")
    }

    /// Starts one again on its data, without waiting for it. Kills it first where it runs.
    ///
    /// # Errors
    /// Where it does not end, or can't be started.
    pub fn restart(&mut self, number: usize) -> Result<()> {
        let node = &mut self.members[number].node;
        if node.is_started() && !node.has_ended() {
            node.end("KILL")?;
        }
        node.start()
    }

    /// Starts those again that have ended by themselves; whether there were any.
    ///
    /// # Errors
    /// Where one can't be started.
    pub fn restart_ended(&mut self) -> Result<bool> {
        let mut any = false;
        for member in &mut self.members {
            if member.node.has_ended() {
                member.node.start()?;
                any = true;
            }
        }
        Ok(any)
    }

    /// Whether all are there, and have all of every partition.
    ///
    /// # Errors
    /// What is not as it should be.
    pub fn check_in_sync(&self) -> Result<()> {
        let metadata = self.asker.fetch_metadata(None, ASKED_WITHIN)?;
        ensure!(metadata.brokers().len() == BROKERS, "only {} brokers are there", metadata.brokers().len());
        for topic in metadata.topics() {
            for partition in topic.partitions() {
                let in_sync = partition.isr();
                ensure!(
                    in_sync.len() == BROKERS && partition.leader() >= 0,
                    "partition {} of {} is on {in_sync:?} alone",
                    partition.id(),
                    topic.name()
                );
            }
        }
        Ok(())
    }

    /// The number of the broker that leads each partition of a topic.
    ///
    /// # Errors
    /// Where that is not known, or one has none.
    pub fn leaders(&self, topic: &str) -> Result<Vec<usize>> {
        let metadata = self.asker.fetch_metadata(Some(topic), ASKED_WITHIN)?;
        let topic = metadata.topics().first().context("no such topic")?;
        let leaders = topic.partitions().iter().map(|partition| {
            let id = usize::try_from(partition.leader()).ok().and_then(|id| id.checked_sub(1));
            id.with_context(|| format!("partition {} has no leader", partition.id()))
        });
        leaders.collect()
    }

    /// Waits until all are there, and have all of every partition.
    ///
    /// # Errors
    /// Where that takes too long; with the end of the log of one that has ended.
    pub fn wait_in_sync(&mut self) -> Result<()> {
        let mut ended = None;
        let in_sync = eventually(READY_WITHIN, "the brokers are in sync", || {
            ended = self.members.iter_mut().position(|member| member.node.has_ended());
            if ended.is_some() { Ok(()) } else { self.check_in_sync() }
        });
        if let Some(ended) = ended {
            bail!("broker {ended} ended by itself:\n{}", self.members[ended].node.log_end());
        }
        in_sync.with_context(|| self.members[0].node.log_end())
    }

    fn format() -> Result<Self> {
        let ports = [(); BROKERS].map(|()| free_ports::<3>()).into_iter().collect::<Result<Vec<_>>>()?;
        let address = |port| format!("127.0.0.1:{port}");
        let controllers: Vec<_> = ports.iter().map(|[.., controller]| address(controller)).collect();
        let voters = controllers.iter().zip(DIRECTORIES).enumerate();
        let voters: Vec<_> =
            voters.map(|(number, (at, directory))| format!("{}@{at}:{directory}", number + 1)).collect();
        let (controllers, voters) = (controllers.join(","), voters.join(","));
        let make = |number: usize, [plain, apart, controller]: [u16; 3]| {
            let node = Node::new(HEAP)?;
            let before = |port| Proxy::start(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
            let (proxy, proxy_apart) = (before(plain)?, before(apart)?);
            let id = u32::try_from(number + 1)?;
            let shared = settings::shared(id, node.dir(), &controllers, u32::try_from(BROKERS)?);
            let listeners = format!(
                "listeners=PLAIN://127.0.0.1:{plain},APART://127.0.0.1:{apart},CONTROLLER://127.0.0.1:{controller}\n\
                 advertised.listeners=PLAIN://{},APART://{}\n\
                 listener.security.protocol.map=PLAIN:PLAINTEXT,APART:PLAINTEXT,CONTROLLER:PLAINTEXT\n",
                proxy.address(),
                proxy_apart.address()
            );
            node.format(&format!("{shared}{listeners}"), &["--initial-controllers", &voters])?;
            Ok(Member { node, proxy, proxy_apart })
        };
        // At once: each is a Java machine that starts.
        let members = std::thread::scope(|scope| {
            let make = &make;
            let made: Vec<_> =
                ports.iter().enumerate().map(|(number, ports)| scope.spawn(move || make(number, *ports))).collect();
            made.into_iter()
                .map(|made| made.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect::<Result<Vec<_>>>()
        })?;
        let asker = asker(&bootstrap(members.iter().map(|member| &member.proxy)))?;
        let members = members.try_into().map_err(|_| anyhow::anyhow!("not {BROKERS} brokers"))?;
        Ok(Self { members, asker })
    }

    fn start_all(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.node.start()?;
        }
        self.wait_in_sync()
    }
}

fn bootstrap<'a>(proxies: impl Iterator<Item = &'a Proxy>) -> String {
    proxies.map(|proxy| proxy.address().to_string()).collect::<Vec<_>>().join(",")
}
