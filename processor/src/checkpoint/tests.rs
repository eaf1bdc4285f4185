//! From a real store to a real folder and back, and everything that may be wrong in between.

use super::area::{Area, CheckpointError};
use super::collect::{Collected, collect};
use super::location::{CheckpointLocation, Opened};
use super::manifest::Manifest;
use super::restore::{RestoreError, Restored, Wanted, restore, tidy};
use super::snapshot::{KnownHashes, Snapshot, SnapshotFolder};
use super::upload::{Outcome, upload};
use crate::SessionPair;
use crate::state::Family;
use crate::state::identity::Identity;
use crate::state::memory::Memory;
use crate::state::progress::{self, Progress};
use crate::state::store::Store;
use crate::state::ttl::{ARRIVAL_SECONDS, Spans};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tempfile::TempDir;
use track_log::Offset;

const SPANS: Spans = Spans { retention: ARRIVAL_SECONDS };
const HOUR_MS: i64 = 60 * 60 * 1000;

fn identity(session_duration_ms_max: i64) -> Identity {
    Identity {
        partition: 3,
        partition_count: 12,
        session_pairs: vec![SessionPair { open: "play".into(), close: "stop".into() }],
        session_duration_ms_max,
        retention_seconds: SPANS.retention,
    }
}

/// A store that a test moves on, and the folder of its checkpoints.
struct Bench {
    dir: TempDir,
    identity: Identity,
    memory: Memory,
    store: Store,
    known: KnownHashes,
    area: Area,
}

fn now_ms() -> i64 {
    let file = tempfile::NamedTempFile::new().unwrap();
    let modified = file.as_file().metadata().unwrap().modified().unwrap();
    i64::try_from(modified.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (identity, memory) = (identity(1_000), Memory::new(8 << 20));
        let store = Store::open(&dir.path().join("partition-0003"), &identity, SPANS, &memory).unwrap();
        let location: CheckpointLocation = dir.path().join("checkpoints").to_str().unwrap().parse().unwrap();
        let Opened { objects, root } = location.open().unwrap();
        let area = Area::new(objects, &root, &identity);
        Self { dir, identity, memory, store, known: KnownHashes::default(), area }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("partition-0003")
    }

    /// What the objects of the area are in the folder: `manifests` or `files`.
    fn objects(&self, kind: &str) -> PathBuf {
        let of_partition = fs::read_dir(self.dir.path().join("checkpoints/partition-0003")).unwrap();
        of_partition.last().unwrap().unwrap().path().join(kind)
    }

    fn manifest_path(&self, next_offset: Offset) -> PathBuf {
        self.objects("manifests").join(format!("{next_offset:020}.json"))
    }

    fn manifest(&self, next_offset: Offset) -> Manifest {
        Manifest::decode(&fs::read(self.manifest_path(next_offset)).unwrap()).unwrap()
    }

    /// Writes a thousand rows that no other offset has.
    fn move_to(&self, next_offset: Offset) {
        let mut batch = self.store.batch(0);
        for row in 0..1_000_u64 {
            let key = [next_offset.to_be_bytes(), row.to_be_bytes()].concat();
            batch.put(Family::StretchCounts, &key, &[&[0; 4], blake3::hash(&key).as_bytes().as_slice()].concat());
        }
        batch.put_default(
            progress::KEY,
            &Progress { next_offset, stream_time: 1, suspect: None, appended_ms: 0 }.encode(),
        );
        self.store.write(batch).unwrap();
    }

    fn snapshot(&mut self) -> Snapshot {
        let folder = SnapshotFolder::beside(&self.folder(), "checkpoint");
        self.store.snapshot(folder.path()).unwrap();
        Snapshot::read(folder, &mut self.known, || true).unwrap().unwrap()
    }

    async fn checkpoint(&mut self, next_offset: Offset) -> Outcome {
        self.move_to(next_offset);
        let snapshot = self.snapshot();
        assert_eq!(snapshot.next_offset(), next_offset);
        upload(&self.area, &snapshot, now_ms(), HOUR_MS).await.unwrap()
    }

    async fn restore_with(&self, change: impl FnOnce(&mut Wanted<'_>)) -> Result<Option<Restored>, RestoreError> {
        let mut wanted = Wanted {
            partition: 3,
            identity: &self.identity,
            beyond: 0,
            log_end: 1_000,
            reads_through: false,
            memory: &self.memory,
        };
        change(&mut wanted);
        restore(&self.area, &self.dir.path().join("restored/partition-0003"), &wanted).await
    }

    /// The offset of what is restored, which has all its rows and none that came later.
    async fn restored(&self) -> Option<Offset> {
        let restored = self.restore_with(|_| {}).await.unwrap()?;
        let (folder, next_offset) = (self.dir.path().join("restored/partition-0003"), restored.next_offset);
        restored.take_place(&folder).unwrap();
        let store = Store::open(&folder, &self.identity, SPANS, &self.memory).unwrap();
        assert_eq!(store.progress().unwrap().unwrap().next_offset, next_offset);
        let (mut rows, view) = (0, store.view());
        view.scan(Family::StretchCounts, &[], &[0xff; 16], |key, _| {
            assert!(Offset::from_be_bytes(*key.first_chunk().unwrap()) <= next_offset);
            rows += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(rows, 1_000 * next_offset);
        Some(next_offset)
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

fn flip_a_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_checkpoint_is_the_state_at_its_offset() {
    let mut bench = Bench::new();
    assert_eq!(bench.restored().await, None);
    assert!(matches!(bench.checkpoint(1).await, Outcome::Written { files: 4.., bytes: 1_000.. }));
    assert_eq!(bench.restored().await, Some(1));
    // What was folded since is in the next one.
    bench.move_to(2);
    assert_eq!(bench.restored().await, Some(1));
    bench.checkpoint(2).await;
    assert_eq!(bench.restored().await, Some(2));
    assert!(bench.restore_with(|wanted| wanted.beyond = 2).await.unwrap().is_none(), "as far is not further");
    assert!(!bench.folder().with_extension("checkpoint").exists(), "snapshots are removed");
}

#[tokio::test]
async fn only_what_is_new_is_uploaded() {
    let mut bench = Bench::new();
    bench.checkpoint(1).await;
    let before = names(&bench.objects("files"));
    let second = bench.checkpoint(2).await;
    let added = names(&bench.objects("files")).difference(&before).count();
    let Outcome::Written { files, .. } = second else { panic!("{second:?}") };
    assert_eq!(files, added);
    let tables = |next_offset| {
        let files = bench.manifest(next_offset).files.into_iter();
        files.filter(|file| file.name.ends_with(".sst")).map(|file| file.hash).collect::<BTreeSet<_>>()
    };
    let (first, second) = (tables(1), tables(2));
    assert!(first.is_subset(&second) && !first.is_empty(), "tables are shared: {first:?} {second:?}");
    // One that is not further is no checkpoint.
    let again = bench.snapshot();
    let outcome = upload(&bench.area, &again, now_ms(), HOUR_MS).await.unwrap();
    assert_eq!(outcome, Outcome::Covered { by: 2 });
}

#[tokio::test]
async fn an_old_file_that_nothing_names_is_not_counted_on() {
    let mut bench = Bench::new();
    bench.checkpoint(1).await;
    let all = names(&bench.objects("files")).len();
    fs::remove_file(bench.manifest_path(1)).unwrap();
    let snapshot = bench.snapshot();
    let outcome = upload(&bench.area, &snapshot, now_ms() + HOUR_MS, HOUR_MS).await.unwrap();
    let Outcome::Written { files, .. } = outcome else { panic!("{outcome:?}") };
    // Each snapshot has a MANIFEST of its own, and may have a file of options.
    assert!(files >= all - 2, "{files} of {all} are uploaded again");
    // Young ones are: an upload that was cut short is gone on with.
    fs::remove_file(bench.manifest_path(1)).unwrap();
    let outcome = upload(&bench.area, &snapshot, now_ms(), HOUR_MS).await.unwrap();
    assert_eq!(outcome, Outcome::Written { files: 0, bytes: 0 });
}

#[tokio::test]
async fn the_newest_few_are_kept_and_their_files() {
    let mut bench = Bench::new();
    for next_offset in 1..=5 {
        bench.checkpoint(next_offset).await;
    }
    let files = names(&bench.objects("files"));
    let young = collect(&bench.area, 2, now_ms(), HOUR_MS).await.unwrap();
    assert_eq!(young, Collected { manifests: 3, files: 0 }, "unnamed files have their grace");
    assert_eq!(names(&bench.objects("files")), files);
    let old = collect(&bench.area, 2, now_ms() + HOUR_MS, HOUR_MS).await.unwrap();
    assert!(old.manifests == 0 && old.files > 0, "{old:?}");
    let named = [4, 5].map(|next_offset| bench.manifest(next_offset).files).concat();
    assert_eq!(names(&bench.objects("files")), named.into_iter().map(|file| file.hash).collect());
    assert_eq!(names(&bench.objects("manifests")).len(), 2);
    assert_eq!(bench.restored().await, Some(5));
}

#[tokio::test]
async fn one_that_cannot_be_used_takes_nobodys_place() {
    let mut bench = Bench::new();
    for next_offset in 1..=3 {
        bench.checkpoint(next_offset).await;
    }
    flip_a_bit(&bench.manifest_path(3));
    assert_eq!(collect(&bench.area, 2, now_ms(), HOUR_MS).await.unwrap().manifests, 0);
    assert_eq!(collect(&bench.area, 2, now_ms() + HOUR_MS, HOUR_MS).await.unwrap().manifests, 1);
    assert_eq!(bench.restored().await, Some(2));
}

#[tokio::test]
async fn what_is_corrupt_or_half_there_is_passed_over_for_the_one_before() {
    let mut bench = Bench::new();
    for next_offset in 1..=2 {
        bench.checkpoint(next_offset).await;
    }
    let (old, new) = (bench.manifest(1), bench.manifest(2));
    let only_new: Vec<_> = new.files.iter().filter(|file| old.files.iter().all(|old| old.hash != file.hash)).collect();
    assert!(only_new.len() >= 2, "{only_new:?}");
    let files = bench.objects("files");
    let targets = only_new.iter().map(|file| files.join(&file.hash)).chain([bench.manifest_path(2)]);
    let cut: fn(&Path) = |path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    let remove: fn(&Path) = |path| fs::remove_file(path).unwrap();
    for target in targets {
        let sound = fs::read(&target).unwrap();
        for damage in [flip_a_bit, cut, remove] {
            damage(&target);
            assert_eq!(bench.restored().await, Some(1), "{}", target.display());
            fs::write(&target, &sound).unwrap();
        }
        assert_eq!(bench.restored().await, Some(2));
    }
    // And what both need is needed.
    let table =
        new.files.iter().find(|file| old.files.iter().any(|old| old.hash == file.hash && old.bytes > 0)).unwrap();
    flip_a_bit(&files.join(&table.hash));
    assert_eq!(bench.restored().await, None);
    // Nothing of what was fetched takes room from the store that goes on.
    assert_eq!(names(&bench.dir.path().join("restored")), ["partition-0003".to_owned()].into());
}

#[tokio::test]
async fn what_was_uploaded_damaged_is_found_by_whoever_reads_it_through() {
    let mut bench = Bench::new();
    bench.checkpoint(1).await;
    bench.move_to(2);
    let folder = SnapshotFolder::beside(&bench.folder(), "checkpoint");
    bench.store.snapshot(folder.path()).unwrap();
    let tables = || fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    let newest = tables()
        .filter(|path| path.extension().is_some_and(|extension| extension == "sst"))
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    // The snapshot shares its files with the store.
    let damaged = fs::read(&newest).unwrap();
    fs::remove_file(&newest).unwrap();
    fs::write(&newest, damaged).unwrap();
    flip_a_bit(&newest);
    let snapshot = Snapshot::read(folder, &mut KnownHashes::default(), || true).unwrap().unwrap();
    upload(&bench.area, &snapshot, now_ms(), HOUR_MS).await.unwrap();
    let believed = bench.restore_with(|_| {}).await.unwrap().unwrap();
    let read_through = bench.restore_with(|wanted| wanted.reads_through = true).await.unwrap().unwrap();
    assert_eq!((believed.next_offset, read_through.next_offset), (2, 1));
}

#[tokio::test]
async fn what_was_made_under_other_rules_is_not_met() {
    let mut bench = Bench::new();
    bench.checkpoint(1).await;
    let (mine, others) = (bench.objects("manifests"), identity(2_000));
    let root = object_store::path::Path::default();
    let location: CheckpointLocation = bench.dir.path().join("checkpoints").to_str().unwrap().parse().unwrap();
    let of_others = Area::new(location.open().unwrap().objects, &root, &others);
    assert!(of_others.list_manifests().await.unwrap().is_empty());
    assert!(of_others.has_others().await.unwrap() && !bench.area.has_others().await.unwrap());
    // Not even where somebody has put it there.
    bench.area = of_others;
    bench.identity = others;
    bench
        .area
        .write_manifest(&Manifest::decode(&fs::read(mine.join(format!("{:020}.json", 1))).unwrap()).unwrap())
        .await
        .unwrap();
    assert!(bench.restore_with(|_| {}).await.unwrap().is_none());
}

#[tokio::test]
async fn one_that_is_ahead_of_the_log_is_refused() {
    let mut bench = Bench::new();
    bench.checkpoint(7).await;
    let refused = bench.restore_with(|wanted| wanted.log_end = 6).await.unwrap_err();
    assert!(matches!(refused, RestoreError::Ahead { next_offset: 7, log_end: 6 }), "{refused}");
    assert_eq!(bench.restore_with(|wanted| wanted.log_end = 7).await.unwrap().unwrap().next_offset, 7);
}

#[tokio::test]
async fn an_object_store_that_is_away_is_no_empty_one() {
    let mut bench = Bench::new();
    bench.checkpoint(1).await;
    let snapshot = bench.snapshot();
    let place = bench.dir.path().join("checkpoints");
    fs::remove_dir_all(&place).unwrap();
    fs::write(&place, "no folder").unwrap();
    let outcome = upload(&bench.area, &snapshot, now_ms(), HOUR_MS).await;
    assert!(matches!(outcome, Err(CheckpointError::Away(_))), "{outcome:?}");
    let restored = bench.restore_with(|_| {}).await;
    assert!(matches!(restored, Err(RestoreError::Checkpoint(CheckpointError::Away(_)))), "{restored:?}");
}

#[test]
fn what_a_crash_leaves_beside_the_store_is_put_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("partition-0003");
    let make = |folder: &Path, text: &str| {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("CURRENT"), text).unwrap();
    };
    tidy(&folder).unwrap();
    // Between the two renames.
    make(&folder.with_extension("replaced"), "old");
    make(&folder.with_extension("restoring"), "new");
    tidy(&folder).unwrap();
    assert_eq!(fs::read_to_string(folder.join("CURRENT")).unwrap(), "old");
    // After both.
    make(&folder.with_extension("replaced"), "older");
    tidy(&folder).unwrap();
    assert_eq!(fs::read_to_string(folder.join("CURRENT")).unwrap(), "old");
    assert_eq!(names(dir.path()).len(), 1);
}
