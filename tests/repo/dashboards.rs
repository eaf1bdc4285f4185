//! Grafana's panels ask for metrics that the code counts.

use crate::tree;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

pub(crate) fn is_name(character: char) -> bool {
    character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_'
}

/// The names given to the macros of the crate `metrics`, by kind.
pub(crate) fn counted(kind: &str) -> BTreeSet<String> {
    let call = format!("{kind}!(");
    let mut names = BTreeSet::new();
    for folder in ["src", "ingest/src", "processor/src", "query-api/src", "log/src"] {
        for file in tree::rust_files(folder) {
            let text = fs::read_to_string(&file).unwrap();
            let calls = text.split(&call).skip(1);
            let literals = calls.filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next());
            names.extend(literals.map(str::to_owned));
        }
    }
    names
}

/// Each metric that an expression names is one that the code counts.
pub(crate) fn check_names(expression: &str) {
    let plain: BTreeSet<_> = counted("counter").union(&counted("gauge")).cloned().collect();
    let histograms = counted("histogram");
    assert!(!plain.is_empty() && !histograms.is_empty());
    for name in tree::words(expression, "track_", is_name) {
        let known = match name.strip_suffix("_bucket") {
            Some(histogram) => histograms.contains(histogram),
            None => plain.contains(name),
        };
        assert!(known, "{expression}: nothing counts {name}");
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&tree::read("docker/grafana/dashboards/track.json")).unwrap()
}

/// What each panel asks for.
fn questions(dashboard: &Value) -> Vec<&str> {
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap()).collect()
}

#[test]
fn every_panel_asks_for_what_is_counted() {
    let dashboard = dashboard();
    for question in questions(&dashboard) {
        assert!(!tree::words(question, "track_", is_name).is_empty(), "{question}");
        check_names(question);
    }
}

#[test]
fn what_an_operator_needs_is_on_the_dashboard() {
    let dashboard = dashboard();
    let asked = questions(&dashboard).join("\n");
    for name in [
        "track_http_requests_total",
        "track_http_request_seconds_bucket",
        "track_events_accepted_total",
        "track_events_rejected_total",
        "track_append_seconds_bucket",
        "track_consumer_lag_records",
        "track_consumer_lag_seconds",
        "track_dead_letters_total",
        "track_store_bytes",
        "track_memory_bytes",
    ] {
        assert!(tree::words(&asked, "track_", is_name).contains(&name), "no panel shows {name}");
    }
}

#[test]
fn every_panel_uses_the_provisioned_source() {
    let sources: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&tree::read("docker/grafana/provisioning/datasources/prometheus.yaml")).unwrap();
    let source = sources["datasources"][0]["uid"].as_str().unwrap();
    let dashboard = dashboard();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert_eq!(panel["datasource"]["uid"].as_str(), Some(source), "{}", panel["title"]);
    }
}
