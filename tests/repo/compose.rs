//! The services of docker/compose.yaml, against the binary's own help and against the files beside it.

use crate::{binary, image, tree};
use serde_yaml_ng::{Mapping, Value};
use std::collections::{BTreeMap, BTreeSet};

/// One service that runs our image.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    definition: Value,
}

impl Service {
    pub(crate) fn role(&self) -> &str {
        &self.args[0]
    }

    /// What is said after the role: flags, each with its value.
    pub(crate) fn flags(&self) -> impl Iterator<Item = (&str, &str)> {
        self.args[1..].chunks_exact(2).map(|pair| (&*pair[0], &*pair[1]))
    }

    fn flag(&self, flag: &str) -> Option<&str> {
        self.flags().find(|(name, _)| *name == flag).map(|(_, value)| value)
    }
}

fn file() -> Value {
    let mut value: Value = serde_yaml_ng::from_str(&tree::read("docker/compose.yaml")).unwrap();
    value.apply_merge().unwrap();
    value
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        other => panic!("{other:?} is no plain value"),
    }
}

fn list(value: &Value) -> Vec<String> {
    value.as_sequence().into_iter().flatten().map(text).collect()
}

fn mapping(value: &Value) -> BTreeMap<String, Value> {
    value.as_mapping().unwrap_or(&Mapping::new()).iter().map(|(key, value)| (text(key), value.clone())).collect()
}

fn variables(service: &Value) -> BTreeMap<String, String> {
    mapping(&service["environment"]).into_iter().map(|(name, value)| (name, text(&value))).collect()
}

/// Those of ours, each with the image's environment under its own.
pub(crate) fn services() -> Vec<Service> {
    let services = mapping(&file()["services"]);
    let ours = services.into_iter().filter(|(_, service)| service["image"].as_str() == Some("track:latest"));
    ours.map(|(name, definition)| {
        let mut environment = image::environment();
        environment.extend(variables(&definition));
        Service { name, args: list(&definition["command"]), environment: environment.into_iter().collect(), definition }
    })
    .collect()
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

#[test]
fn there_are_the_services_that_a_deployment_has() {
    let roles: Vec<_> = services().iter().map(|service| service.role().to_owned()).collect();
    assert_eq!(roles, ["ingest", "processor", "processor", "query"]);
    let others: Vec<_> = mapping(&file()["services"])
        .into_keys()
        .filter(|name| services().iter().all(|ours| ours.name != *name))
        .collect();
    assert_eq!(others, ["grafana", "kafka", "prometheus"]);
}

/// The binary reads a command line from left to right and gives up at the first thing wrong with it. So a last flag with a
/// bad value tells: where that one is complained about, everything before it was taken.
#[test]
fn the_binary_takes_every_command_line() {
    for service in services() {
        let args: Vec<_> = service.args.iter().map(String::as_str).chain(["--drain-timeout", "sentinel"]).collect();
        let output = binary::run(&args, &service.environment);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{}", service.name);
        assert!(said.contains("sentinel") && said.contains("--drain-timeout"), "{} {args:?}: {said}", service.name);

        let mut broken = args.clone();
        broken.splice(1..1, ["--no-such-flag"]);
        let output = binary::run(&broken, &service.environment);
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("--no-such-flag"),
            "the sentinel hides other mistakes"
        );
    }
}

#[test]
fn the_binary_takes_every_variable() {
    for service in services() {
        let known = binary::variables(Some(service.role()));
        for (name, value) in variables(&service.definition) {
            assert!(
                known.contains(&name),
                "{} sets {name}, which track {} does not read",
                service.name,
                service.role()
            );
            // As a flag, its value is judged; an environment variable alone might be ignored.
            let flag = format!("--{}", name.trim_start_matches("TRACK_").to_lowercase().replace('_', "-"));
            let output = binary::run(&[service.role(), &flag, &value, "--drain-timeout", "sentinel"], &[]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("sentinel"), "{} {name}={value}: {said}", service.name);
        }
    }
}

#[test]
fn all_agree_on_kafka() {
    let kafka = &file()["services"]["kafka"];
    let settings = variables(kafka);
    let advertised = settings["KAFKA_ADVERTISED_LISTENERS"].strip_prefix("PLAINTEXT://").unwrap();
    assert_eq!(advertised, "kafka:9092");
    assert!(settings["KAFKA_LISTENERS"].contains(&format!("PLAINTEXT://:{}", port(advertised))));
    for service in services() {
        assert_eq!(variables(&service.definition)["TRACK_KAFKA_BROKERS"], advertised, "{}", service.name);
        assert!(mapping(&service.definition["depends_on"]).contains_key("kafka"), "{}", service.name);
        // Whoever comes first makes the topic.
        assert_eq!(service.flag("--partitions"), Some("12"), "{}", service.name);
    }
    // The broker that the tests run.
    let pom = tree::read("tests/harness/kafka/pom.xml");
    let (_, version) = pom.split_once("<kafka.version>").unwrap();
    let version = version.split('<').next().unwrap();
    assert_eq!(kafka["image"].as_str(), Some(&*format!("apache/kafka:{version}")));
}

#[test]
fn processors_are_two_and_reachable() {
    let image = image::environment();
    let mut instances = BTreeSet::new();
    let mut volumes = BTreeSet::new();
    for processor in services().iter().filter(|service| service.role() == "processor") {
        assert!(instances.insert(processor.flag("--instance-id").unwrap().to_owned()), "two with one --instance-id");
        let url = format!("http://{}:{}", processor.name, port(&image["TRACK_GRPC_LISTEN"]));
        assert_eq!(processor.flag("--advertise-url"), Some(&*url), "{}", processor.name);
        let mounted = list(&processor.definition["volumes"]);
        let [volume] = &mounted[..] else { panic!("{}: one volume, not {mounted:?}", processor.name) };
        let (volume, path) = volume.split_once(':').unwrap();
        assert_eq!(path, image["TRACK_DATA_DIR"], "{}", processor.name);
        assert!(mapping(&file()["volumes"]).contains_key(volume), "{volume} is not declared");
        assert!(volumes.insert(volume.to_owned()), "two processors on one volume");
    }
    assert_eq!(instances.len(), 2);
}

#[test]
fn published_ports_are_those_of_the_listeners() {
    let image = image::environment();
    let mut on_the_host = BTreeSet::new();
    for (name, service) in mapping(&file()["services"]) {
        for published in list(&service["ports"]) {
            let (host, container) = published.split_once(':').unwrap();
            assert!(on_the_host.insert(host.to_owned()), "{name}: {host} is published twice");
            if services().iter().any(|ours| ours.name == name) {
                assert_eq!(container, port(&image["TRACK_LISTEN"]), "{name}");
            }
        }
    }
}

#[test]
fn draining_is_not_cut_short() {
    for service in services() {
        let seconds = |text: &str| text.strip_suffix('s').unwrap().parse::<u64>().unwrap();
        let grace = seconds(service.definition["stop_grace_period"].as_str().unwrap());
        let drain = service
            .flag("--drain-timeout")
            .map_or_else(|| seconds(&binary::default(Some(service.role()), "--drain-timeout")), seconds);
        assert!(grace > drain, "{}: {grace} s to stop, {drain} s to drain", service.name);
    }
}

#[test]
fn prometheus_asks_the_admin_listener_of_every_service() {
    let config: Value = serde_yaml_ng::from_str(&tree::read("docker/prometheus/prometheus.yml")).unwrap();
    let admin = image::environment()["TRACK_ADMIN_LISTEN"].clone();
    let mut asked = BTreeMap::new();
    for group in config["scrape_configs"][0]["static_configs"].as_sequence().unwrap() {
        for target in list(&group["targets"]) {
            asked.insert(target, text(&group["labels"]["role"]));
        }
    }
    let expected: BTreeMap<_, _> = services()
        .iter()
        .map(|service| (format!("{}:{}", service.name, port(&admin)), service.role().to_owned()))
        .collect();
    assert_eq!(asked, expected);
}

#[test]
fn mounted_files_exist_and_are_where_they_are_looked_for() {
    let mut mounted = BTreeMap::new();
    for (name, service) in mapping(&file()["services"]) {
        for mount in list(&service["volumes"]) {
            if let Some((host, container)) = mount.split_once(':').filter(|(host, _)| host.starts_with("./")) {
                assert!(tree::path("docker").join(host).exists(), "{name} mounts {host}");
                mounted.insert(container.trim_end_matches(":ro").to_owned(), host.to_owned());
            }
        }
    }
    let grafana = file()["services"]["grafana"].clone();
    let home = variables(&grafana)["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].clone();
    let provider: Value =
        serde_yaml_ng::from_str(&tree::read("docker/grafana/provisioning/dashboards/track.yaml")).unwrap();
    let folder = text(&provider["providers"][0]["options"]["path"]);
    assert_eq!(home, format!("{folder}/track.json"));
    assert_eq!(mounted[&folder], "./grafana/dashboards");
    assert_eq!(mounted["/etc/grafana/provisioning"], "./grafana/provisioning");
    let prometheus = list(&file()["services"]["prometheus"]["command"]);
    let config = prometheus.iter().find_map(|arg| arg.strip_prefix("--config.file=")).unwrap();
    assert_eq!(mounted[config], "./prometheus/prometheus.yml");
    let settings: Value = serde_yaml_ng::from_str(&tree::read("docker/prometheus/prometheus.yml")).unwrap();
    // Looked for beside the configuration that names them.
    let beside = config.rsplit_once('/').unwrap().0;
    let rules = list(&settings["rule_files"]);
    assert!(!rules.is_empty(), "no rules to alert by");
    for rules in rules {
        assert_eq!(mounted[&format!("{beside}/{rules}")], format!("./prometheus/{rules}"));
    }
}
