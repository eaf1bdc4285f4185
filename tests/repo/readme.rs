//! What README.md names exists.

use crate::{binary, tree};
use std::collections::BTreeSet;

fn is_flag(character: char) -> bool {
    character.is_ascii_lowercase() || character == '-'
}

#[test]
fn every_flag_it_names_is_one_and_every_one_is_named() {
    let readme = tree::read("README.md");
    let (_, options) = readme.split_once("## Options").expect("a section about options");
    let options = options.split("\n## ").next().unwrap();
    let flags =
        tree::words(options, "--", is_flag).into_iter().filter(|word| !word.starts_with("---") && word.len() > 2);
    let named: BTreeSet<_> = flags.map(str::to_owned).chain(["--help", "--version"].map(str::to_owned)).collect();
    let known: BTreeSet<_> = binary::ROLES
        .into_iter()
        .flat_map(binary::flags)
        .chain(binary::ERRANDS.into_iter().flat_map(binary::flags_of))
        .collect();
    assert_eq!(named, known);
}

#[test]
fn every_file_it_links_to_exists() {
    for page in ["README.md", "CHANGELOG.md", "docs/operations.md"] {
        let text = tree::read(page);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http")) {
            let file = link.split('#').next().unwrap();
            let beside = tree::path(page).with_file_name(file);
            assert!(file.is_empty() || beside.exists(), "{page} links to {link}");
        }
    }
}

#[test]
fn every_target_it_names_is_in_the_makefile() {
    let makefile = tree::read("Makefile");
    let readme = tree::read("README.md");
    let targets: BTreeSet<_> =
        readme.split("make ").skip(1).filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase()).next()).collect();
    for target in ["run", "test", "lint"] {
        assert!(targets.contains(target), "README.md does not name make {target}");
        assert!(makefile.contains(&format!("\n{target}:")), "the Makefile has no {target}");
    }
}
