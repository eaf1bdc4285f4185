use crate::cluster::{Behaviour, Cluster, NEXT_OFFSET};
use http::header::RETRY_AFTER;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Code;
use track_proto::partitioner::partition_for;

/// 2025-01-01, a Wednesday, in days since 1970-01-01.
const NEW_YEAR: i64 = 20_089;
const JANUARY: &str = "/metrics?start_date=2025-01-01&end_date=2025-01-31";
const JANUARY_SESSIONS: &str = "/sessions?start_date=2025-01-01&end_date=2025-01-31";
const NO_METRICS: &str = r#"{"status":"error","message":"Failed to fetch metrics","partitions":[1]}"#;

fn plays(count: u64) -> Behaviour {
    Behaviour::Counts(vec![(NEW_YEAR, "play", count)])
}

fn answer(plays: u64) -> (u16, String) {
    (200, format!(r#"{{"status":"success","data":[{{"date":"2025-01-01","play":{plays}}}]}}"#))
}

/// Long enough ago that nobody counts on it.
fn long_ago() -> Instant {
    Instant::now() - Duration::from_secs(60)
}

#[tokio::test]
async fn partitions_add_up() {
    let cluster = Cluster::new(3);
    let a = cluster.add(
        "a",
        [
            (0, Behaviour::Counts(vec![(NEW_YEAR + 1, "stop", 5), (NEW_YEAR, "play", 20), (NEW_YEAR, "stop", 22)])),
            (2, Behaviour::Counts(vec![(NEW_YEAR, "play", 4), (NEW_YEAR + 1, "a:b", 1), (NEW_YEAR + 2, "play", 0)])),
        ],
    );
    let b = cluster.add("b", [(1, Behaviour::Counts(vec![]))]);
    let expected = r#"{"status":"success","data":[{"date":"2025-01-01","play":24,"stop":22},{"date":"2025-01-02","a:b":1,"stop":5}]}"#;
    assert_eq!(cluster.get(JANUARY).await, (200, expected.into()));
    assert_eq!((a.asked_partitions(), b.asked_partitions()), (vec![0, 2], vec![1]));
}

#[tokio::test]
async fn sessions_add_up() {
    let cluster = Cluster::new(2);
    cluster.add("a", [(0, Behaviour::Sessions(vec![(NEW_YEAR, 14, 7_199_400)]))]);
    cluster.add("b", [(1, Behaviour::Sessions(vec![(NEW_YEAR, 1, 200), (NEW_YEAR + 7, 1, 500)]))]);
    let expected = concat!(
        r#"{"status":"success","data":["#,
        r#"{"date":"2025-01-01","totalDuration":7200,"sessionCount":15,"averageDuration":480},"#,
        r#"{"date":"2025-01-08","totalDuration":1,"sessionCount":1,"averageDuration":1}]}"#,
    );
    assert_eq!(cluster.get(JANUARY_SESSIONS).await, (200, expected.into()));
}

#[tokio::test]
async fn the_question_arrives_as_it_was_asked() {
    let cluster = Cluster::new(1);
    let a = cluster.add("a", [(0, Behaviour::Counts(vec![(NEW_YEAR * 24 + 13, "play", 1)]))]);
    let query =
        format!("{JANUARY}&group_by=hour&week_start=monday&timezone=Asia/Kolkata&user_id=u%3A1&event=stop&event=play");
    let expected = r#"{"status":"success","data":[{"date":"2025-01-01T13:00","play":1}]}"#;
    assert_eq!(cluster.get(&query).await, (200, expected.into()));
    let asked = &a.asked()[0];
    let request = &asked.request;
    assert_eq!((request.start_day, request.end_day), (20_089, 20_119));
    assert_eq!(
        (request.group_by().as_str_name(), request.week_start().as_str_name()),
        ("GROUP_BY_HOUR", "WEEK_START_MONDAY")
    );
    assert_eq!((request.timezone.as_str(), request.user_id.as_deref()), ("Asia/Kolkata", Some("u:1")));
    assert_eq!(
        (request.events.as_slice(), request.min_offset),
        (["play".to_owned(), "stop".to_owned()].as_slice(), None)
    );
    assert!(asked.grpc_timeout.is_some());
}

#[tokio::test]
async fn a_user_is_looked_for_in_one_partition() {
    let cluster = Cluster::new(4);
    let home = partition_for(b"alice", 4);
    let at_home = cluster.add("home", [(home, plays(3))]);
    let others = cluster
        .add("others", (0..4).filter(|other| *other != home).map(|other| (other, Behaviour::Fail(Code::Internal))));
    assert_eq!(cluster.get(&format!("{JANUARY}&user_id=alice")).await, answer(3));
    assert_eq!(at_home.asked_partitions(), [home]);
    assert_eq!(others.asked_partitions(), [0_u32; 0]);
}

#[tokio::test]
async fn the_freshest_is_asked_and_nobody_else() {
    let cluster = Cluster::new(1);
    let behind = cluster.add_heard_at("a", NEXT_OFFSET - 1, Instant::now(), [(0, plays(1))]);
    cluster.add_heard_at("b", NEXT_OFFSET, Instant::now(), [(0, plays(2))]);
    assert_eq!(cluster.get(JANUARY).await, answer(2));
    assert_eq!(behind.asked_partitions(), [0_u32; 0]);
}

#[tokio::test]
async fn where_one_fails_the_next_is_asked() {
    for failing in [
        Behaviour::Fail(Code::Unavailable),
        Behaviour::Fail(Code::NotFound),
        Behaviour::Fail(Code::FailedPrecondition),
        Behaviour::Fail(Code::Internal),
    ] {
        let cluster = Cluster::new(1);
        let first = cluster.add_heard_at("a", NEXT_OFFSET + 1, Instant::now(), [(0, failing)]);
        cluster.add("b", [(0, plays(2))]);
        assert_eq!(cluster.get(JANUARY).await, answer(2));
        assert_eq!(first.asked_partitions(), [0]);
    }
}

#[tokio::test]
async fn a_partition_without_an_answer_is_said() {
    for failing in [Behaviour::Fail(Code::Unavailable), Behaviour::Panic] {
        let cluster = Cluster::new(2);
        cluster.add("a", [(0, plays(1)), (1, failing)]);
        let response = cluster.respond(warp::test::request().path(JANUARY)).await;
        assert_eq!((response.status().as_u16(), response.body().as_ref()), (503, NO_METRICS.as_bytes()));
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }
}

#[tokio::test]
async fn a_partial_answer_says_what_is_missing() {
    let cluster = Cluster::new(3);
    cluster.add("a", [(0, plays(1)), (2, Behaviour::Fail(Code::NotFound))]);
    let expected = r#"{"status":"success","data":[{"date":"2025-01-01","play":1}],"missingPartitions":[1,2]}"#;
    assert_eq!(cluster.get(&format!("{JANUARY}&allow_partial=true")).await, (200, expected.into()));
    let expected = r#"{"status":"error","message":"Failed to fetch metrics","partitions":[1,2]}"#;
    assert_eq!(cluster.get(&format!("{JANUARY}&allow_partial=false")).await, (503, expected.into()));
    cluster.add("b", [(1, plays(2)), (2, plays(4))]);
    assert_eq!(cluster.get(&format!("{JANUARY}&allow_partial=true")).await, answer(7));
}

#[tokio::test]
async fn a_processor_that_hangs_is_not_waited_for() {
    let cluster = Cluster::with_timeout(2, Duration::from_millis(50));
    cluster.add("a", [(1, Behaviour::Hang)]);
    let expected = r#"{"status":"error","message":"Failed to fetch session metrics","partitions":[0,1]}"#;
    assert_eq!(cluster.get(JANUARY_SESSIONS).await, (503, expected.into()));
}

#[tokio::test]
async fn who_is_silent_for_long_is_not_asked() {
    let cluster = Cluster::new(2);
    cluster.add("a", [(0, plays(1))]);
    let silent = cluster.add_heard_at("b", NEXT_OFFSET, long_ago(), [(1, plays(1))]);
    assert_eq!(cluster.get(JANUARY).await, (503, NO_METRICS.into()));
    assert_eq!(silent.asked_partitions(), [0_u32; 0]);
}

#[tokio::test]
async fn nobody_to_ask() {
    let cluster = Cluster::new(1);
    for (path, message) in [(JANUARY, "Failed to fetch metrics"), (JANUARY_SESSIONS, "Failed to fetch session metrics")]
    {
        let path = format!("{path}&allow_partial=true");
        let response = cluster.respond(warp::test::request().path(&path)).await;
        let expected = format!(r#"{{"status":"error","message":"{message}"}}"#);
        assert_eq!((response.status().as_u16(), response.body().as_ref()), (503, expected.as_bytes()));
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }
}

#[tokio::test]
async fn a_position_is_waited_for_by_its_partition_alone() {
    let cluster = Cluster::new(2);
    let a = cluster.add("a", [(0, plays(1)), (1, plays(1))]);
    let last = NEXT_OFFSET - 1;
    assert_eq!(cluster.get(&format!("{JANUARY}&min_position=1:{last}")).await, answer(2));
    let request = warp::test::request().path(JANUARY).header("Track-Position", "1:7,1:8");
    assert_eq!(cluster.respond(request).await.status().as_u16(), 200);
    let mut asked: Vec<_> = a.asked().iter().map(|asked| (asked.request.partition, asked.request.min_offset)).collect();
    asked.sort_unstable();
    assert_eq!(asked, [(0, None), (0, None), (1, Some(8)), (1, Some(last))]);
}

#[tokio::test]
async fn an_answer_short_of_the_position_is_none() {
    let cluster = Cluster::new(2);
    cluster.add("a", [(0, plays(1)), (1, plays(1))]);
    assert_eq!(cluster.get(&format!("{JANUARY}&min_position=1:{NEXT_OFFSET}")).await, (503, NO_METRICS.into()));
}

#[tokio::test]
async fn answers_beyond_four_mebibytes_are_taken() {
    let cluster = Cluster::new(1);
    cluster.add("a", [(0, Behaviour::Counts((0..600_000).map(|day| (day % 20_000, "listened-to", 1)).collect()))]);
    let (code, body) = cluster.get(JANUARY).await;
    assert_eq!(code, 200);
    assert_eq!(body.matches(r#""listened-to":30}"#).count(), 20_000);
}

#[tokio::test]
async fn an_answer_says_how_complete_it_is() {
    let cluster = Cluster::new(1);
    cluster.add("a", [(0, plays(1))]);
    let response = cluster.respond(warp::test::request().path(JANUARY)).await;
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((header("track-as-of"), header("track-lag-ms")), ("2024-12-31T23:59:59.750Z".into(), "250".into()));
}

#[tokio::test]
async fn a_slow_one_is_not_waited_for_where_another_answers() {
    // The slow one could take as long as the query may: the answer comes since another is asked meanwhile.
    let cluster = Cluster::with_timeout(1, Duration::from_secs(3_600));
    let slow = cluster.add_heard_at("slow", NEXT_OFFSET + 1, Instant::now(), [(0, Behaviour::Hang)]);
    cluster.add("other", [(0, plays(2))]);
    assert_eq!(cluster.get(JANUARY).await, answer(2));
    assert_eq!(slow.asked_partitions(), [0]);
}

#[tokio::test]
async fn a_partition_that_has_just_moved_is_asked_for_at_its_new_owner() {
    let cluster = Cluster::new(1);
    // It no longer has what it said it had.
    cluster.add("old", [(0, Behaviour::Fail(Code::NotFound))]);
    let (answered, ()) = tokio::join!(cluster.get(JANUARY), async {
        tokio::task::yield_now().await;
        cluster.add("new", [(0, plays(3))]);
    });
    assert_eq!(answered, answer(3));
    cluster.owners.apply("old".into(), None, Instant::now());
    cluster.owners.apply("new".into(), None, Instant::now());
    let (answered, ()) = tokio::join!(cluster.get(JANUARY), async {
        tokio::task::yield_now().await;
        cluster.add("newer", [(0, plays(4))]);
    });
    assert_eq!(answered, answer(4), "nobody was there for a moment");
}

#[tokio::test]
async fn a_new_owner_is_asked_while_the_old_one_hangs() {
    let cluster = Cluster::with_timeout(1, Duration::from_secs(3_600));
    let frozen = cluster.add("frozen", [(0, Behaviour::Hang)]);
    let (answered, ()) = tokio::join!(cluster.get(JANUARY), async {
        while frozen.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        cluster.add("new", [(0, plays(5))]);
    });
    assert_eq!(answered, answer(5));
}
