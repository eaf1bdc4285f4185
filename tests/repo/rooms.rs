//! Which room may use which: the table of ARCHITECTURE.md, kept true.

use crate::tree;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use toml::Table;

/// Each crate of the workspace, its folder, and which of our own crates its code may use.
const ROOMS: [(&str, &str, &[&str]); 10] = [
    ("track-proto", "proto", &[]),
    ("track-log", "log", &["track-proto"]),
    ("track-ingest", "ingest", &["track-proto", "track-log"]),
    ("track-processor", "processor", &["track-proto", "track-log"]),
    ("track-query-api", "query-api", &["track-proto"]),
    ("track", ".", &["track-proto", "track-log", "track-ingest", "track-processor", "track-query-api"]),
    ("track-harness", "tests/harness", &["track-proto", "track-oracle"]),
    ("track-oracle", "tests/oracle", &[]),
    ("track-model", "tests/model", &[]),
    ("track-bench", "bench", &["track-proto", "track-log", "track-ingest", "track-harness"]),
];

/// Names that say nothing about what is inside, and so attract everything.
const NO_NAMES: [&str; 8] = ["common", "helper", "helpers", "misc", "shared", "util", "utils", "tools"];

fn manifest(folder: &str) -> Table {
    tree::read(&format!("{folder}/Cargo.toml")).parse().unwrap()
}

/// The crates in every table of this name: a target's own included, and by their real names where renamed.
fn dependencies(manifest: &Table, kind: &str) -> BTreeSet<String> {
    let targets = manifest.get("target").and_then(|targets| targets.as_table()).into_iter().flat_map(Table::values);
    let tables = targets.filter_map(|target| target.get(kind)).chain(manifest.get(kind));
    let entries = tables.filter_map(|table| table.as_table()).flatten();
    entries
        .map(|(name, entry)| entry.get("package").and_then(|name| name.as_str()).unwrap_or(name).to_owned())
        .collect()
}

#[test]
fn a_room_uses_only_what_it_may() {
    let ours: BTreeSet<_> = ROOMS.iter().map(|(name, ..)| *name).collect();
    for (name, folder, allowed) in ROOMS {
        let manifest = manifest(folder);
        assert_eq!(manifest["package"]["name"].as_str(), Some(name), "{folder}/Cargo.toml");
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let mut allowed: BTreeSet<_> = allowed.iter().copied().collect();
            if kind == "dev-dependencies" {
                allowed.extend(["track-harness", "track-oracle"]);
            }
            for used in dependencies(&manifest, kind) {
                let name_is_ours = ours.contains(used.as_str()) || used.starts_with("track-");
                assert!(!name_is_ours || allowed.contains(used.as_str()), "{name} must not use {used} ({kind})");
            }
        }
    }
}

#[test]
fn every_crate_has_its_line_in_the_table() {
    let workspace = manifest(".");
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let mut members: BTreeSet<_> = members.iter().map(|member| member.as_str().unwrap()).collect();
    members.insert(".");
    let folders: BTreeSet<_> = ROOMS.iter().map(|(_, folder, _)| *folder).collect();
    assert_eq!(members, folders);
}

#[test]
fn features_of_a_dependency_stand_in_one_place() {
    // A second set of features would build RocksDB a second time.
    let mut wrong = BTreeMap::new();
    for (name, folder, _) in ROOMS {
        let manifest = manifest(folder);
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (dependency, entry) in manifest.get(kind).and_then(|table| table.as_table()).into_iter().flatten() {
                // What the tests build can be told to fail at certain points; what users build has no such points.
                if (name, kind, dependency.as_str()) == ("track", "dev-dependencies", "fail") {
                    continue;
                }
                if entry.get("workspace").and_then(|value| value.as_bool()) != Some(true)
                    || entry.as_table().unwrap().len() > 1
                {
                    wrong.insert(format!("{name}: {dependency}"), entry.to_string());
                }
            }
        }
    }
    assert!(wrong.is_empty(), "only `workspace = true` may stand here: {wrong:#?}");
}

#[test]
fn what_users_build_has_no_points_to_fail_at() {
    let features = |edges: &str| {
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--package", "track", "--invert", "fail", "--edges", edges])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        String::from_utf8(tree.stdout).unwrap()
    };
    assert!(!features("normal,build,features").contains("failpoints"));
    assert!(features("all,features").contains("failpoints"), "the tests have them");
}

#[test]
fn there_is_no_module_for_odds_and_ends() {
    let files = tree::rust_files(".");
    assert!(files.len() > 10, "the files of the workspace are found: {files:?}");
    for file in files {
        let relative = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
        for part in relative.with_extension("").components() {
            let part = part.as_os_str().to_string_lossy();
            assert!(!NO_NAMES.contains(&&*part), "{}: name it after what it does", relative.display());
        }
    }
}
