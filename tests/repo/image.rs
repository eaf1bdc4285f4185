//! docker/Dockerfile, against the binary, the toolchain and scripts/setup.

use crate::{binary, tree};
use std::collections::{BTreeMap, BTreeSet};

/// The file's instructions, each on one line and without comments.
fn instructions() -> Vec<String> {
    let text = tree::read("docker/Dockerfile");
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let joined = lines.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect()
}

fn instruction(name: &str) -> String {
    let prefix = format!("{name} ");
    let found: Vec<_> =
        instructions().into_iter().filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned)).collect();
    let [one] = &found[..] else { panic!("one {name}, not {found:?}") };
    one.clone()
}

/// What the image sets.
pub(crate) fn environment() -> BTreeMap<String, String> {
    let pairs = instruction("ENV");
    pairs
        .split(' ')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_binary_reads_what_the_image_sets() {
    let known: BTreeSet<_> = binary::ROLES.into_iter().flat_map(binary::variables).collect();
    for name in environment().keys() {
        assert!(known.contains(name), "no role reads {name}");
    }
}

#[test]
fn exposed_ports_are_those_of_the_listeners() {
    let listeners: BTreeMap<_, _> = environment().into_iter().filter(|(name, _)| name.ends_with("LISTEN")).collect();
    assert_eq!(listeners.len(), 3, "{listeners:?}");
    let ports: BTreeSet<_> = listeners.values().map(|address| address.rsplit_once(':').unwrap().1.to_owned()).collect();
    assert!(listeners.values().all(|address| address.starts_with("0.0.0.0:")), "{listeners:?}");
    assert_eq!(instruction("EXPOSE").split(' ').map(str::to_owned).collect::<BTreeSet<_>>(), ports);
    // The same as the binary's own, so that one page of documentation serves both.
    let default = |role, flag| binary::default(role, flag).rsplit_once(':').unwrap().1.to_owned();
    let expected =
        [default(None, "--listen"), default(None, "--admin-listen"), default(Some("processor"), "--grpc-listen")];
    assert_eq!(ports, BTreeSet::from(expected));
}

#[test]
fn data_lies_on_the_volume() {
    assert_eq!(instruction("VOLUME"), environment()["TRACK_DATA_DIR"]);
}

#[test]
fn the_health_check_asks_the_admin_listener() {
    let admin = environment()["TRACK_ADMIN_LISTEN"].clone();
    let port = admin.rsplit_once(':').unwrap().1;
    let check = instruction("HEALTHCHECK");
    assert!(check.contains(&format!("/dev/tcp/127.0.0.1/{port} ")) && check.contains("GET /readyz"), "{check}");
}

#[test]
fn the_image_does_not_run_as_root() {
    let lines = instructions();
    let last_stage = lines.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    let user = lines[last_stage..].iter().position(|line| line == "USER track").expect("a user");
    let entry = lines[last_stage..].iter().position(|line| line.starts_with("ENTRYPOINT ")).expect("an entry point");
    assert!(user < entry);
}

#[test]
fn the_image_is_built_as_a_machine_is_set_up() {
    let toolchain: toml::Table = tree::read("rust-toolchain.toml").parse().unwrap();
    let channel = toolchain["toolchain"]["channel"].as_str().unwrap();
    let lines = instructions();
    assert_eq!(lines[0], format!("FROM rust:{channel}-bookworm AS build"));
    // What compiling takes stands in one place.
    assert!(lines.iter().any(|line| line == "RUN scripts/setup run"), "{lines:#?}");
    let build = lines.iter().find(|line| line.contains("scripts/build")).expect("a build");
    assert!(build.contains("--release --locked --bin track"), "{build}");
}

/// A library that the build picked up from the builder and the image lacks would end every start.
#[cfg(target_os = "linux")]
#[test]
fn the_image_has_every_library_that_the_binary_loads() {
    let packages: &[(&str, &[&str])] = &[
        // Of every Debian image.
        (
            "libc6",
            &["libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "ld-linux", "linux-vdso", "linux-gate"],
        ),
        ("libgcc-s1", &["libgcc_s.so"]),
        ("libstdc++6", &["libstdc++.so"]),
        ("libssl3", &["libssl.so.3", "libcrypto.so.3"]),
        ("zlib1g", &["libz.so"]),
    ];
    let install = instructions().into_iter().find(|line| line.contains("libssl3")).expect("packages");
    let ldd = std::process::Command::new("ldd").arg(env!("CARGO_BIN_EXE_track")).output().unwrap();
    assert!(ldd.status.success());
    let loaded = String::from_utf8(ldd.stdout).unwrap();
    assert!(loaded.contains("libc.so"), "{loaded}");
    for library in loaded.lines().filter_map(|line| line.split_whitespace().next()) {
        let file = library.rsplit('/').next().unwrap();
        let package = packages.iter().find(|(_, prefixes)| prefixes.iter().any(|prefix| file.starts_with(prefix)));
        let (package, _) = package.unwrap_or_else(|| panic!("no package of the image is known to have {file}"));
        let installed = ["libc6", "libgcc-s1"].contains(package) || install.split(' ').any(|word| word == *package);
        assert!(installed, "{file} is in {package}, which the image does not install");
    }
}
