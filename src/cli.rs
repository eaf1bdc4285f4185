//! The command line: one role a process, or all of them.

use crate::flags::{
    DigestFlags, IngestFlags, LoadFlags, LogFlags, ProcessorFlags, QueryFlags, ReplayFlags, StandaloneFlags,
    StatusFlags, VerifyFlags,
};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::ffi::OsString;

/// Counts events and sessions exactly, from a partitioned log.
///
/// Without a command: everything in one process, on a log in a folder of its own. With one: that role alone, against Kafka;
/// start as many processes of each as you need. Every flag has a twin in the environment.
#[derive(Debug, Parser)]
#[command(name = "track", version, args_conflicts_with_subcommands = true, max_term_width = 120)]
#[command(after_help = "Producers POST /track and /track/batch; analysts GET /metrics and /sessions. \
                        The API is described at /docs and /openapi.json.")]
struct Cli {
    #[command(subcommand)]
    role: Option<RoleCommand>,
    #[command(flatten)]
    standalone: StandaloneFlags,
}

#[derive(Debug, Subcommand)]
enum RoleCommand {
    /// Take events over HTTP and append them to Kafka.
    ///
    /// POST /track and POST /track/batch; an event is answered when Kafka has it for good, or while Kafka is away the disk
    /// that --spool names.
    Ingest(IngestFlags),
    /// Fold partitions of the log into counters and sessions.
    ///
    /// A member of a consumer group: Kafka shares the partitions out among all processors. Each answers for its own
    /// over gRPC, and tells where on the topic track.owners.
    Processor(Box<ProcessorCommand>),
    /// Answer queries from the processors.
    ///
    /// GET /metrics and GET /sessions; finds processors through the topic track.owners.
    Query(QueryFlags),
    /// Compare two folds of one log, and name the first row that differs.
    ///
    /// Brings each partition that both have to the same offset and compares digests: one line a partition. Ends with 0
    /// where all are equal, with 1 where one differs, and with 2 where one could not be compared.
    Verify(VerifyFlags),
    /// Show the processors on one screen, what each of them serves, how far behind it is, and what nobody serves.
    ///
    /// Reads what processors say of themselves on the topic track.owners, and where the log of events ends. Ends with 0
    /// where every partition is served, with 1 where one is not or the digests of replicas differ, and with 2 where that
    /// could not be found out.
    Status(StatusFlags),
    /// Put dead letters back that are events after all.
    ///
    /// Reads track.dead-letter from its start to its end as of now and judges each record in it by the rules of this
    /// version. What is an event now, or lacked nothing but its key, goes back to track.events; the rest stays. Run it
    /// as often as you like: each record counts once. Letters of the last 29 days are put back.
    ReplayDeadLetters(ReplayFlags),
    /// Make load, and check the answers.
    ///
    /// Posts events that a seed makes, as fast as they are taken or at a rate, and compares what /metrics and /sessions
    /// answer afterwards with what was sent and acknowledged. Ends with 1 where they differ. Also fills a topic, a log's
    /// folder or a file with the same events, and asks questions.
    Load(LoadFlags),
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct ProcessorCommand {
    #[command(subcommand)]
    errand: Option<ProcessorErrand>,
    #[command(flatten)]
    flags: ProcessorFlags,
}

#[derive(Debug, Subcommand)]
enum ProcessorErrand {
    /// Print what the state of a processor that is not running is: one line a partition.
    ///
    /// Two folds of one log that are at the same offset have the same digest. A running processor is asked with
    /// GET /digest on its admin listener.
    Digest(DigestFlags),
}

/// What the command line asks for.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one in a process, and it is taken apart at once")]
pub(crate) enum Task {
    /// To do what a role does.
    Run(Role),
    /// To make load.
    Load(LoadFlags),
}

/// What this process is.
#[derive(Debug)]
pub(crate) enum Role {
    /// Everything.
    Standalone(StandaloneFlags),
    /// Takes events.
    Ingest(IngestFlags),
    /// Folds them.
    Processor(ProcessorFlags),
    /// Answers.
    Query(QueryFlags),
    /// Prints digests.
    Digest(DigestFlags),
    /// Compares states.
    Verify(VerifyFlags),
    /// Shows who serves what.
    Status(StatusFlags),
    /// Puts dead letters back, and ends.
    ReplayDeadLetters(ReplayFlags),
}

impl Role {
    /// As the command line calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Standalone(_) => "standalone",
            Self::Ingest(_) => "ingest",
            Self::Processor(_) => "processor",
            Self::Query(_) => "query",
            Self::Digest(_) => "processor digest",
            Self::Verify(_) => "verify",
            Self::Status(_) => "status",
            Self::ReplayDeadLetters(_) => "replay-dead-letters",
        }
    }

    /// How it logs.
    pub(crate) fn log(&self) -> &LogFlags {
        match self {
            Self::Standalone(flags) => &flags.common.log,
            Self::Ingest(flags) => &flags.common.log,
            Self::Processor(flags) => &flags.common.log,
            Self::Query(flags) => &flags.common.log,
            Self::Digest(flags) => &flags.log,
            Self::Verify(flags) => &flags.log,
            Self::Status(flags) => &flags.log,
            Self::ReplayDeadLetters(flags) => &flags.log,
        }
    }
}

/// What this process was started for. Ends the process where the command line is wrong or asks for help.
pub(crate) fn parse() -> Task {
    let args: Vec<OsString> = std::env::args_os().collect();
    parse_from(&args).unwrap_or_else(|error| {
        // Nothing more can be done where even stderr is closed.
        let _ = error.print();
        if let Some(note) = environment_note(&error, &args) {
            eprintln!("{note}");
        }
        std::process::exit(error.exit_code())
    })
}

fn parse_from(args: &[OsString]) -> Result<Task, clap::Error> {
    let mut matches = Cli::command().try_get_matches_from(args)?;
    let cli = Cli::from_arg_matches_mut(&mut matches)?;
    let role = match cli.role {
        None => Role::Standalone(cli.standalone),
        Some(RoleCommand::Ingest(flags)) => Role::Ingest(flags),
        Some(RoleCommand::Processor(command)) => match command.errand {
            None => Role::Processor(command.flags),
            Some(ProcessorErrand::Digest(flags)) => Role::Digest(flags),
        },
        Some(RoleCommand::Query(flags)) => Role::Query(flags),
        Some(RoleCommand::Verify(flags)) => Role::Verify(flags),
        Some(RoleCommand::Status(flags)) => Role::Status(flags),
        Some(RoleCommand::ReplayDeadLetters(flags)) => Role::ReplayDeadLetters(flags),
        Some(RoleCommand::Load(flags)) => return Ok(Task::Load(flags)),
    };
    if let Role::Processor(flags) = &role {
        flags.check().map_err(|message| Cli::command().error(ErrorKind::MissingRequiredArgument, message))?;
    }
    Ok(Task::Run(role))
}

/// Where a wrong value came from, when it was not the command line: clap names the flag alone.
fn environment_note(error: &clap::Error, args: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = flag.split_whitespace().next()?;
    let on_command_line = |arg: &OsString| {
        arg.to_str()
            .is_some_and(|arg| arg.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
    };
    if !flag.starts_with("--") || args.iter().any(on_command_line) {
        return None;
    }
    let twin = environment_twin(flag.trim_start_matches('-'));
    std::env::var_os(&twin).map(|_| format!("The value stands in the environment variable {twin}."))
}

/// The environment variable of a flag: `data-dir` is `TRACK_DATA_DIR`.
fn environment_twin(flag: &str) -> String {
    format!("TRACK_{}", flag.to_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{GroupProtocol, Side};
    use std::time::Duration;

    fn parsed(line: &str) -> Result<Role, clap::Error> {
        let args: Vec<OsString> = std::iter::once("track").chain(line.split_whitespace()).map(OsString::from).collect();
        match parse_from(&args)? {
            Task::Run(role) => Ok(role),
            Task::Load(flags) => panic!("no role: {flags:?}"),
        }
    }

    fn refused(line: &str) -> String {
        let args: Vec<OsString> = std::iter::once("track").chain(line.split_whitespace()).map(OsString::from).collect();
        parse_from(&args).unwrap_err().to_string()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_help_text_and_its_twin_in_the_environment() {
        let command = Cli::command();
        let roles = || command.get_subcommands();
        for command in std::iter::once(&command).chain(roles()).chain(roles().flat_map(clap::Command::get_subcommands))
        {
            for flag in command.get_arguments().filter(|argument| !argument.is_positional()) {
                let name = flag.get_long().unwrap_or_else(|| panic!("{} has no long name", flag.get_id()));
                if ["help", "version"].contains(&name) {
                    continue;
                }
                assert!(flag.get_help().is_some(), "--{name} has no help");
                assert_eq!(flag.get_env().and_then(|env| env.to_str()), Some(environment_twin(name).as_str()));
            }
        }
    }

    #[test]
    fn without_a_command_everything_runs_with_defaults() {
        let Role::Standalone(flags) = parsed("").unwrap() else { panic!("not standalone") };
        assert_eq!(flags.public.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(flags.common.admin_listen.to_string(), "127.0.0.1:8081");
        assert_eq!(flags.data_dir.to_str(), Some("./track-data"));
        assert_eq!(flags.partitions, None);
        assert_eq!(flags.common.drain_timeout, Duration::from_secs(30));
        assert_eq!(flags.fold.retention, Duration::from_secs(400 * 86_400));
        assert_eq!(flags.fold.session_max_duration, Duration::from_secs(30 * 86_400));
        assert!(flags.fold.checkpoints.config().is_none());
        let pairs = flags.fold.session_pairs();
        assert_eq!(pairs.iter().map(|pair| (&*pair.open, &*pair.close)).collect::<Vec<_>>(), [("play", "stop")]);
    }

    #[test]
    fn each_role_has_its_own_flags() {
        let Role::Ingest(flags) = parsed("ingest --kafka-brokers a:1,b:2 --kafka-property x=y=z").unwrap() else {
            panic!("not ingest")
        };
        assert_eq!(flags.kafka.brokers.kafka_brokers, "a:1,b:2");
        assert_eq!(flags.kafka.brokers.properties(), [("x".to_owned(), "y=z".to_owned())]);
        assert_eq!(flags.kafka.partitions, 12);

        let line =
            "processor --replica b --instance-id p1 --group-protocol classic --session-pair a:b --session-pair c:d";
        let Role::Processor(flags) = parsed(line).unwrap() else { panic!("not a processor") };
        assert_eq!(flags.group(), "track-processor-b");
        assert_eq!(flags.instance().as_deref(), Some("p1-b"));
        assert_eq!(flags.group_protocol, GroupProtocol::Classic);
        assert_eq!(flags.fold.session_pairs().len(), 2);

        let Role::Processor(flags) = parsed("processor --checkpoints s3://bucket/track").unwrap() else {
            panic!("not a processor")
        };
        let checkpoints = flags.fold.checkpoints.config().unwrap();
        assert_eq!(checkpoints.location.to_string(), "s3://bucket/track");
        assert_eq!((checkpoints.interval, checkpoints.kept), (Duration::from_secs(60), 3));

        let Role::Query(flags) = parsed("query --query-timeout 1500ms").unwrap() else { panic!("not a query service") };
        assert_eq!(flags.query_timeout, Duration::from_millis(1_500));

        let Role::ReplayDeadLetters(flags) = parsed("replay-dead-letters --dry-run --kafka-brokers a:1").unwrap()
        else {
            panic!("not a replay")
        };
        assert_eq!((flags.dry_run, flags.brokers.kafka_brokers.as_str()), (true, "a:1"));
        assert_eq!(flags.standalone_data_dir, None);

        assert!(refused("ingest --data-dir x").contains("--data-dir"));
        assert!(refused("--kafka-brokers a:1").contains("--kafka-brokers"));
        assert!(refused("--partitions 3 ingest").contains("ingest"));
    }

    #[test]
    fn states_are_looked_at_in_folders_and_in_processors() {
        let Role::Digest(flags) = parsed("processor digest --data-dir x --partition 3").unwrap() else {
            panic!("not a digest")
        };
        assert_eq!((flags.data_dir.to_str(), flags.partition), (Some("x"), Some(3)));
        let Role::Digest(flags) = parsed("processor digest").unwrap() else { panic!("not a digest") };
        assert_eq!((flags.data_dir.to_str(), flags.partition), (Some("./track-data"), None));
        assert!(refused("processor --replica b digest").contains("digest"));

        let Role::Verify(flags) = parsed("verify ./a https://p1:8082/ --tls-ca ca.pem").unwrap() else {
            panic!("not verify")
        };
        assert_eq!(flags.a, Side::Folder("./a".into()));
        assert_eq!(flags.b, Side::Url("https://p1:8082".into()));
        assert_eq!((flags.trust.tls_ca.unwrap().to_str(), flags.partition), (Some("ca.pem"), None));
    }

    #[test]
    fn a_status_may_be_watched_and_may_be_read_by_a_program() {
        let Role::Status(flags) = parsed("status --kafka-brokers a:1 --watch --json").unwrap() else {
            panic!("not status")
        };
        assert_eq!((flags.watch, flags.json, flags.digests), (true, true, false));
        assert_eq!(flags.brokers.kafka_brokers, "a:1");
    }

    #[test]
    fn a_processor_says_where_it_is_reached() {
        let url = |line: &str| match parsed(line).unwrap() {
            Role::Processor(flags) => flags.advertised_url("127.0.0.1:4711".parse().unwrap()),
            role => panic!("{}", role.name()),
        };
        assert_eq!(url("processor"), "http://127.0.0.1:4711");
        assert_eq!(url("processor --tls-cert c --tls-key k"), "https://127.0.0.1:4711");
        assert_eq!(url("processor --grpc-listen 0.0.0.0:1 --advertise-url http://p1:1"), "http://p1:1");
        assert!(refused("processor --grpc-listen 0.0.0.0:8082").contains("--advertise-url"));
        assert!(refused("processor --grpc-listen [::]:8082").contains("--advertise-url"));
    }

    #[test]
    fn a_wrong_value_says_which_what_and_what_is_allowed() {
        for (line, flag, allowed) in [
            ("--listen 8080", "--listen", "127.0.0.1:8080"),
            ("--listen 127.0.0.1:99999", "--listen", "127.0.0.1:8080"),
            ("--listen 127.0.0.1", "--listen", "127.0.0.1:8080"),
            ("--admin-listen nowhere", "--admin-listen", "127.0.0.1:8080"),
            ("--partitions 0", "--partitions", "1..=1024"),
            ("--partitions x", "--partitions", "invalid digit"),
            ("--retention 30", "--retention", "30d"),
            ("--retention 29d", "--retention", "at least 30d"),
            ("--retention 3000000years", "--retention", "at most"),
            ("--session-max-duration 0s", "--session-max-duration", "at least"),
            ("--memory lots", "--memory", "512MiB"),
            ("--memory 1KiB", "--memory", "at least"),
            ("--checkpoints http://bucket", "--checkpoints", "s3://bucket/prefix"),
            ("--checkpoint-interval 1ms", "--checkpoint-interval", "at least"),
            ("--checkpoints-kept 0", "--checkpoints-kept", "1..=1000"),
            ("--session-pair play", "--session-pair", "open:close"),
            ("--session-pair :stop", "--session-pair", "must not be empty"),
            ("--session-pair a:b:c", "--session-pair", "open:close"),
            ("--session-pair date:stop", "--session-pair", "date"),
            ("--cors-origin example.org", "--cors-origin", "https://example.org"),
            ("--cors-origin https://example.org/path", "--cors-origin", "https://example.org"),
            ("--log-level loud", "--log-level", "debug"),
            ("--log-format xml", "--log-format", "human"),
            ("--drain-timeout soon", "--drain-timeout", "30s"),
            ("--tls-cert c.pem", "--tls-key", "required"),
            ("ingest --kafka-brokers :9092", "--kafka-brokers", "host:port"),
            ("ingest --kafka-property sasl", "--kafka-property", "key=value"),
            ("ingest --replication-factor 0", "--replication-factor", "1.."),
            ("ingest --spool-size-max 1MiB", "--spool-size-max", "at least"),
            ("ingest --spool-size-max much", "--spool-size-max", "512MiB"),
            ("ingest --spool", "--spool", "required"),
            ("processor --group-protocol new", "--group-protocol", "classic"),
            ("processor --advertise-url p1:8082", "--advertise-url", "http://"),
            ("processor --advertise-url http://p1:8082/x", "--advertise-url", "http://"),
            ("processor --warm=0s", "--warm", "at least"),
            ("processor --instance-id=", "--instance-id", "must not be empty"),
            ("processor digest --partition x", "--partition", "invalid digit"),
            ("processor digest --grpc-listen 127.0.0.1:1", "--grpc-listen", "--help"),
            ("verify ./a", "<B>", "required"),
            ("verify ./a http://p1:8082/digest", "<B>", "http://processor-1:8082"),
            ("verify ./a http://p1:8082 --tls-ca", "--tls-ca", "required"),
            ("status --kafka-brokers :9092", "--kafka-brokers", "host:port"),
            ("status --digests --watch", "--digests", "cannot be used with"),
            ("query --query-timeout 0s", "--query-timeout", "at least"),
            ("replay-dead-letters --kafka-brokers :9092", "--kafka-brokers", "host:port"),
            ("replay-dead-letters --partitions 3", "--partitions", "--help"),
            ("load --rate 0", "--rate", "a second"),
            ("load --late 2", "--late", "from 0 to 1"),
            ("load --ask everything", "--ask", "user-month"),
            ("load --batch 0", "--batch", "1..=10000"),
            ("bake", "bake", "--help"),
        ] {
            let message = refused(line);
            assert!(message.contains(flag), "{line} should name {flag}: {message}");
            assert!(message.contains(allowed), "{line} should say {allowed}: {message}");
        }
    }

    #[test]
    fn several_values_of_one_variable_stand_a_line_each() {
        let args = ["track", "ingest", "--kafka-property", "a=1,2\nb=3\n"].map(OsString::from);
        let Task::Run(Role::Ingest(flags)) = parse_from(&args).unwrap() else { panic!("not ingest") };
        assert_eq!(
            flags.kafka.brokers.properties(),
            [("a".to_owned(), "1,2".to_owned()), ("b".to_owned(), "3".to_owned())]
        );
    }

    #[test]
    fn a_flag_on_the_command_line_is_not_blamed_on_the_environment() {
        let args = ["track", "--partitions=0"].map(OsString::from);
        let error = parse_from(&args).unwrap_err();
        assert_eq!(environment_note(&error, &args), None);
    }
}
