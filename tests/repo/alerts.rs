//! Prometheus' rules ask for metrics that the code counts, and docs/operations.md explains every alert and every metric.

use crate::{dashboards, tree};
use serde_yaml_ng::Value;

/// The rules of docker/prometheus/alerts.yml.
fn rules() -> Vec<Value> {
    let file: Value = serde_yaml_ng::from_str(&tree::read("docker/prometheus/alerts.yml")).unwrap();
    let groups = file["groups"].as_sequence().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_sequence().unwrap().clone()).collect()
}

#[test]
fn every_alert_asks_for_what_is_counted_and_says_what_is_wrong() {
    let rules = rules();
    assert!(!rules.is_empty());
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        let expression = rule["expr"].as_str().unwrap();
        let asks = tree::words(expression, "track_", dashboards::is_name).len();
        assert!(asks > 0 || expression.contains("up{job=\"track\"}"), "{name} asks for nothing of ours: {expression}");
        dashboards::check_names(expression);
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        assert!(!rule["annotations"]["summary"].as_str().unwrap().is_empty(), "{name}");
    }
}

#[test]
fn every_alert_and_every_metric_is_explained() {
    let page = tree::read("docs/operations.md");
    let explained = tree::words(&page, "`", |character| character == '`' || dashboards::is_name(character));
    for kind in ["counter", "gauge", "histogram"] {
        for metric in dashboards::counted(kind) {
            assert!(explained.contains(&&*format!("`{metric}`")), "docs/operations.md does not say what {metric} is");
        }
    }
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        assert!(page.contains(&format!("`{name}`")), "docs/operations.md does not say what {name} means");
    }
}
