//! A damaged store is never answered from: it is folded again from the log, or refused where that would be too little.

use super::*;
use std::fs;
use std::path::PathBuf;

const USERS: i64 = 40;
const EVENTS: i64 = 1_200;

/// Everything that the state answers, by every family of rows.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    counts: Vec<Vec<(i64, String, u64)>>,
    sessions: Vec<Vec<(i64, u64, u64)>>,
}

fn questions() -> Vec<QueryRequest> {
    let kolkata = |request| QueryRequest { timezone: "Asia/Kolkata".into(), ..request };
    let users = (0..USERS).map(|user| of_user(&format!("user-{user}")));
    [january(), kolkata(january()), kolkata(of_user("user-1"))].into_iter().chain(users).collect()
}

/// Asks everything again until all of it is answered: what is not answered is refused as unavailable and nothing else.
async fn answers(track: &Track) -> Answers {
    let deadline = Instant::now() + DEADLINE;
    'again: loop {
        assert!(Instant::now() < deadline, "in time: every question is answered");
        track.applied().await;
        let mut answers = Answers { counts: Vec::new(), sessions: Vec::new() };
        for question in questions() {
            match (track.client().counts(question.clone()).await, track.client().sessions(question).await) {
                (Ok(counts), Ok(sessions)) => {
                    answers.counts.push(rows_of(counts.into_inner()));
                    let rows = sessions.into_inner().rows.into_iter();
                    let mut rows: Vec<_> = rows.map(|row| (row.bucket, row.count, row.duration_ms_sum)).collect();
                    rows.sort_unstable();
                    answers.sessions.push(rows);
                }
                (Err(refusal), _) | (_, Err(refusal)) => {
                    assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
                    continue 'again;
                }
            }
        }
        return answers;
    }
}

/// Edges of many users over three weeks, each with an id.
fn edges() -> impl Iterator<Item = Event> {
    (0..EVENTS).map(|number| {
        let name = ["play", "stop", "like"][usize::try_from(number / USERS % 3).unwrap()];
        let user = format!("user-{}", number % USERS);
        with_id(&number.to_string(), event(&user, name, NEW_YEAR_MS + number * 25 * 60 * 1000))
    })
}

pub(super) fn store(dir: &Path) -> PathBuf {
    dir.join("state/partition-0000")
}

pub(super) fn aside(dir: &Path) -> PathBuf {
    dir.join("state/partition-0000.damaged")
}

fn copy(from: &Path, to: &Path) {
    for folder in [to.to_owned(), to.with_extension("damaged")] {
        if folder.exists() {
            fs::remove_dir_all(folder).unwrap();
        }
    }
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

/// A folder with a log, what its state answers, and a sound store of it beside the place where stores are.
async fn sound_store() -> (tempfile::TempDir, PathBuf, Answers) {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    track.append(edges()).await;
    let truth = answers(&track).await;
    assert!(truth.sessions.iter().all(|rows| !rows.is_empty()), "{truth:?}");
    track.stop().await.unwrap();
    let sound = dir.path().join("sound");
    copy(&store(dir.path()), &sound);
    (dir, sound, truth)
}

/// How a file is damaged.
type Damage = fn(&Path);

const DAMAGES: [(&str, Damage); 4] = [
    ("a bit flipped", |path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        fs::write(path, bytes).unwrap();
    }),
    ("cut to half", |path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    }),
    ("emptied", |path| fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap()),
    ("removed", |path| fs::remove_file(path).unwrap()),
];

#[tokio::test]
async fn whatever_is_done_to_a_file_of_the_store_the_answers_stay_true() {
    let (dir, sound, truth) = sound_store().await;
    let files: Vec<_> = fs::read_dir(&sound).unwrap().map(|file| file.unwrap().file_name()).collect();
    let (mut tables, mut healed) = (0, 0);
    for file in &files {
        let name = file.to_string_lossy();
        // The store's last words, an empty log of its own, and its lock: nothing is read from them.
        if name.starts_with("LOG") || name == "LOCK" || name.ends_with(".log") {
            continue;
        }
        for (what, damage) in DAMAGES {
            copy(&sound, &store(dir.path()));
            damage(&store(dir.path()).join(file));
            let track = Track::start(dir.path());
            // What was sent before is still known, from the marks that may have been damaged too.
            track.append(edges().step_by(7)).await;
            assert_eq!(answers(&track).await, truth, "{name} {what}");
            track.stop().await.unwrap();
            let was_healed = aside(dir.path()).exists();
            healed += u32::from(was_healed);
            if name.ends_with(".sst") {
                tables += 1;
                assert!(was_healed || what == "a bit flipped", "{name} {what}: not noticed");
            }
            if name == "CURRENT" {
                assert!(was_healed, "{name} {what}: not noticed");
            }
        }
    }
    assert!(tables >= 9 * DAMAGES.len(), "a table a family, each damaged: {files:?}");
    assert!(healed >= 30, "{healed}");
}

#[tokio::test]
async fn what_only_a_question_runs_into_is_mended_too() {
    let (dir, sound, truth) = sound_store().await;
    copy(&sound, &store(dir.path()));
    // Every table, in its first block: folding reads none of them as long as nothing is sent.
    for file in fs::read_dir(store(dir.path())).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sst") {
            let mut bytes = fs::read(&path).unwrap();
            bytes[10] ^= 0x10;
            fs::write(&path, bytes).unwrap();
        }
    }
    let track = Track::start(dir.path());
    let asked_before = track.processor.check_ready();
    assert_eq!(answers(&track).await, truth, "ready before: {asked_before:?}");
    poll("it is ready again", || track.processor.check_ready().is_ok()).await;
    assert!(aside(dir.path()).join("CURRENT").exists());
    track.stop().await.unwrap();

    // A second time: what was set aside before makes way.
    fs::write(store(dir.path()).join("CURRENT"), "nonsense").unwrap();
    let track = Track::start(dir.path());
    assert_eq!(answers(&track).await, truth);
    assert_eq!(fs::read_to_string(aside(dir.path()).join("CURRENT")).unwrap(), "nonsense");
    track.stop().await.unwrap();
}

/// Appends more than a segment, so that the first one can be dropped, and has it folded.
pub(super) async fn fill_segments(track: &Track) {
    let long = |number: i64| event(&format!("user-{number}"), &"x".repeat(100), NEW_YEAR_MS);
    for _ in 0..3 {
        track.append((0..5_000).map(long)).await;
    }
    track.applied().await;
    track.now_ms.store(NEW_YEAR_MS + 20_000 * DAY_MS, Ordering::SeqCst);
    track.append([event("ann", "like", NEW_YEAR_MS)]).await;
    track.applied().await;
}

/// Opened anew, the log drops what is older than its retention. With one of a second it looks for that often.
pub(super) async fn lose_beginning(dir: &Path) {
    let now_ms = Arc::new(AtomicI64::new(NEW_YEAR_MS + 20_000 * DAY_MS));
    let config_of_log = embedded::Config { retention_ms: 1_000, ..embedded::Config::new(dir.join("log"), 1) };
    let log = EmbeddedLog::open(config_of_log, clock(&now_ms)).unwrap();
    poll("the first segment is dropped", || log.bounds(0).unwrap().start > 0).await;
}

#[tokio::test]
async fn damage_is_refused_where_the_log_has_lost_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let track = Track::start(dir.path());
    fill_segments(&track).await;
    track.stop().await.unwrap();
    lose_beginning(dir.path()).await;

    let current = store(dir.path()).join("CURRENT");
    fs::write(&current, "nonsense").unwrap();
    let refusal = {
        let track = Track::start(dir.path());
        track.running.await.unwrap().unwrap_err()
    };
    assert!(matches!(refusal, ProcessorError::DamagedAndTruncated { log_start: 1.., .. }), "{refusal}");
    assert!(refusal.to_string().contains("--accept-truncated-log"), "{refusal}");
    assert_eq!(fs::read_to_string(&current).unwrap(), "nonsense", "it is left where it was");
    assert!(!aside(dir.path()).exists());

    // Who says so gets what is left.
    let track = Track::start_with(dir.path(), Config { accept_truncated_log: true, ..config(dir.path()) });
    track.applied().await;
    assert!(aside(dir.path()).exists());
    track.stop().await.unwrap();
}
