//! All roles in one process, killed, with its files torn and damaged.

use super::producer::send_all;
use super::traffic::Traffic;
use super::{digest, kills};
use crate::operators::{samples, sum};
use crate::standalone;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use track_harness::seed::rng;
use track_harness::track::{Start, Track};

/// Flushes come at random moments, so that a kill finds every mixture of memory and disk.
fn start(dir: &Path) -> Start {
    standalone(dir).flag("--memory", "32MiB").env("FAILPOINTS", "flush-due=20%return")
}

/// Stops it, and holds its state against that of a fold that nothing has disturbed.
pub fn check_digest(dir: &Path, track: Track) {
    track.terminate().unwrap();
    let state = dir.join("data/state");
    let disturbed = digest(&state);
    fs::rename(&state, dir.join("data/disturbed")).unwrap();
    standalone(dir).ready().unwrap().terminate().unwrap();
    assert_eq!(disturbed, digest(&state), "a fold of the same log from its start");
}

#[test]
fn killed_at_random_moments() {
    let mut rng = rng("killed_at_random_moments");
    let dir = tempfile::tempdir().unwrap();
    let kills = kills(5);
    let traffic = Traffic::new("id", 1_000 * (kills + 1), &mut rng);
    let start = start(dir.path());
    let (track, positions) = send_all(&traffic, |sending| {
        let mut track = start.spawn().unwrap();
        for kill in 0..kills {
            sending.aim(&[track.public()]);
            sending.wait_for((kill as f64 + rng.f64()) / kills as f64);
            track.kill9().unwrap();
            track = start.spawn().unwrap();
        }
        sending.aim(&[track.public()]);
        track
    });
    traffic.check(track.public(), &positions, "after the last kill");
    check_digest(dir.path(), track);
}

/// The last segment of a partition of the log, and where its records end. Each of them ends with a byte that is not zero.
fn tail(dir: &Path, partition: u32) -> (PathBuf, u64) {
    let folder = dir.join(format!("data/log/partition-{partition:04}"));
    let mut segments: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    segments.sort();
    let segment = segments.pop().unwrap();
    let bytes = fs::read(&segment).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (segment, end as u64)
}

#[test]
fn the_last_block_of_the_log_is_torn() {
    let mut rng = rng("the_last_block_of_the_log_is_torn");
    let dir = tempfile::tempdir().unwrap();
    let traffic = Traffic::new("id", 1_500, &mut rng);
    let start = start(dir.path());
    let (track, positions) = send_all(&traffic, |sending| {
        let mut track = start.spawn().unwrap();
        for share in [0.3, 0.6, 0.9] {
            sending.aim(&[track.public()]);
            sending.wait_for(share);
            track.kill9().unwrap();
            for partition in 0..4 {
                let (segment, end) = tail(dir.path(), partition);
                let half_a_frame = {
                    // What stands at the end, as if the next write had begun with the same bytes and gone no further.
                    let mut frame = vec![0; 50];
                    File::open(&segment).unwrap().read_exact_at(&mut frame, end - 50).unwrap();
                    frame
                };
                let garbage: Vec<u8> = (0..rng.usize(1..600)).map(|_| rng.u8(..)).collect();
                let torn = [half_a_frame, garbage].concat();
                let file = File::options().write(true).open(&segment).unwrap();
                file.write_all_at(&torn[rng.usize(..50)..], end).unwrap();
            }
            track = start.spawn().unwrap();
        }
        sending.aim(&[track.public()]);
        track
    });
    assert!(track.log().unwrap().contains("cut off the last write"), "it is said");
    traffic.check(track.public(), &positions, "behind torn tails");
    check_digest(dir.path(), track);
}

/// Damages every table of a partition's store.
fn damage(dir: &Path, partition: u32, how: impl Fn(&File, u64)) {
    let mut tables = 0;
    for file in fs::read_dir(dir.join(format!("data/state/partition-{partition:04}"))).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sst") {
            let file = File::options().read(true).write(true).open(&path).unwrap();
            how(&file, file.metadata().unwrap().len());
            tables += 1;
        }
    }
    assert!(tables > 0, "there is something to damage");
}

fn flip(file: &File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

#[test]
fn a_damaged_store_is_folded_again() {
    let mut rng = rng("a_damaged_store_is_folded_again");
    let dir = tempfile::tempdir().unwrap();
    let traffic = Traffic::new("id", 2_000, &mut rng);
    let start = start(dir.path());
    let (track, positions) = send_all(&traffic, |sending| {
        let track = start.spawn().unwrap();
        sending.aim(&[track.public()]);
        sending.wait_for(0.4);
        track.terminate().unwrap();
        damage(dir.path(), 0, |file, length| file.set_len(length - 7).unwrap());
        damage(dir.path(), 1, |file, length| flip(file, length / 3));
        fs::write(dir.path().join("data/state/partition-0002/CURRENT"), "").unwrap();
        let track = start.spawn().unwrap();
        sending.aim(&[track.public()]);
        track
    });
    traffic.check(track.public(), &positions, "after damage");
    track.wait_ready().unwrap();
    let page = String::from_utf8(track.ask_admin("/metrics").unwrap().body).unwrap();
    for partition in 0..3 {
        let label = format!("partition=\"{partition}\"");
        assert!(sum(&samples(&page), "track_store_damaged_total", &[&label]) >= 1.0, "{partition}: {page}");
        let aside = dir.path().join(format!("data/state/partition-{partition:04}.damaged"));
        assert!(aside.is_dir(), "{} is kept", aside.display());
    }
    assert!(track.log().unwrap().contains("the store is damaged"), "it is said");
    check_digest(dir.path(), track);
}
