//! `GET /metrics`, and what `GET /sessions` shares with it: parameters, ranges, groups.

use crate::case::{Case, Row, case, row};
use crate::site::{EVER, Site, new_user};
use serde_json::{Value, json};
use track_harness::http::Request;

const JANUARY: &str = "start_date=2025-01-01&end_date=2025-01-31";

pub fn cases() -> Vec<Case> {
    let refusals = ["/metrics", "/sessions"].into_iter().flat_map(refusals);
    let nothing = ["/metrics", "/sessions"].into_iter().flat_map(nothing);
    let rows = refusals.chain(nothing).map(Case::from);
    rows.chain([groups(), filters(), rows_in_order(), names(), read_your_writes(), not_there_yet()]).collect()
}

fn get(path: &str, name: &str, query: &str) -> Row {
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    row(format!("{path}, {name}"), |_| Request::get(target))
}

fn refusals(path: &'static str) -> Vec<Row> {
    const REQUIRED: &str = "start_date and end_date are required";
    const FORMAT: &str = "Invalid date format. Use YYYY-MM-DD";
    let mut rows = vec![
        get(path, "no query", "").refused(400, REQUIRED),
        get(path, "an empty query", "&").refused(400, REQUIRED),
        get(path, "no start_date", "end_date=2025-01-31").refused(400, REQUIRED),
        get(path, "no end_date", "start_date=2025-01-01").refused(400, REQUIRED),
        get(path, "an empty start_date", "start_date=&end_date=2025-01-31").refused(400, REQUIRED),
        get(path, "start after end", "start_date=2025-01-02&end_date=2025-01-01")
            .refused(400, "start_date must not be after end_date"),
        get(path, "an unknown group_by", &format!("{JANUARY}&group_by=year"))
            .refused(400, "group_by must be one of: day, week, month, hour"),
        get(path, "group_by in another case", &format!("{JANUARY}&group_by=Day")).refused_about(400, "group_by"),
        get(path, "an unknown week_start", &format!("{JANUARY}&week_start=friday"))
            .refused(400, "week_start must be one of: sunday, monday"),
        get(path, "an unknown timezone", &format!("{JANUARY}&timezone=Mars/Olympus")).refused_about(400, "timezone"),
        get(path, "an offset for a timezone", &format!("{JANUARY}&timezone=%2B05:30")).refused_about(400, "timezone"),
        get(path, "a user_id of 257 bytes", &format!("{JANUARY}&user_id={}", "u".repeat(257)))
            .refused(400, "user_id must be at most 256 bytes"),
        get(path, "a NUL in a user_id", &format!("{JANUARY}&user_id=a%00")).refused_about(400, "user_id"),
        get(path, "a user_id that is not UTF-8", &format!("{JANUARY}&user_id=%ff%fe")).refused_about(400, "UTF-8"),
        get(path, "an event of 129 bytes", &format!("{JANUARY}&event={}", "e".repeat(129))).refused_about(400, "event"),
        get(path, "two users", &format!("{JANUARY}&user_id=a&user_id=b")).refused_about(400, "user_id"),
        get(path, "a min_position of nonsense", &format!("{JANUARY}&min_position=x"))
            .refused_about(400, "min_position"),
        get(path, "a min_position in no partition", &format!("{JANUARY}&min_position=4000000000:0"))
            .refused_about(400, "min_position"),
        get(path, "an allow_partial of nonsense", &format!("{JANUARY}&allow_partial=maybe"))
            .refused_about(400, "allow_partial"),
    ];
    for date in [
        "2025-02-30",
        "2023-02-29",
        "2025-13-01",
        "2025-00-01",
        "2025-01-00",
        "2025-01-32",
        "2025-1-1",
        "20250101",
        "01/01/2025",
        "2025-01-01T00:00:00Z",
        "today",
        "0000-01-01",
        "-2025-01-01",
        "10000-01-01",
        "%002025-01-1",
        "2025-01-01%20",
        "%F0%9F%8E%B5",
        "99999999999999999999",
    ] {
        rows.push(get(path, date, &format!("start_date={date}&end_date=9999-12-31")).refused(400, FORMAT));
        rows.push(get(path, date, &format!("start_date=0001-01-01&end_date={date}")).refused(400, FORMAT));
    }
    rows
}

/// Nothing to tell is an empty list, not an error.
fn nothing(path: &'static str) -> Vec<Row> {
    let nothing = json!({"status": "success", "data": []});
    let of_nobody =
        |name: &str, query: &str| get(path, name, &format!("{query}&user_id=nobody")).answers(nothing.clone());
    vec![
        of_nobody("a user without events", JANUARY).header("content-type", "application/json"),
        of_nobody("all days there are", EVER),
        of_nobody("one day", "start_date=2024-02-29&end_date=2024-02-29"),
        of_nobody("the first day there is", "start_date=0001-01-01&end_date=0001-01-01"),
        of_nobody("the last day there is", "start_date=9999-12-31&end_date=9999-12-31&group_by=hour"),
        of_nobody("all hours there are", &format!("{EVER}&group_by=hour&timezone=Asia/Kathmandu")),
        of_nobody("empty values are none", &format!("{JANUARY}&group_by=&timezone=&week_start=&event=&min_position=")),
        of_nobody("unknown parameters are ignored", &format!("{JANUARY}&limit=5&limit=6&%ff=1").replace("%ff", "x")),
        of_nobody("allow_partial with nothing missing", &format!("{JANUARY}&allow_partial=true")),
    ]
}

/// Posts these (event, timestamp) of one user, and returns a way to ask about them.
fn posted<'s>(site: &'s Site, events: &[(&str, &str)]) -> impl Fn(&str) -> Value + use<'s> {
    let user = new_user();
    let events: Vec<_> =
        events.iter().map(|(event, at)| json!({"event": event, "user_id": user, "timestamp": at})).collect();
    let position = site.track_batch(&events);
    move |query| site.data(&format!("/metrics?user_id={user}&{query}"), &position)
}

fn groups() -> Case {
    case("days, weeks, months and hours", |site| {
        let ask = posted(
            site,
            &[
                ("play", "2024-12-31T23:59:59.999Z"),
                ("play", "2025-01-01T00:00:00Z"),
                ("stop", "2025-01-01T13:59:59.999Z"),
                ("play", "2025-01-04T13:00:00Z"),
                ("play", "2025-01-05T00:00:00Z"),
                ("play", "2025-01-06T12:00:00Z"),
                ("play", "2025-01-31T23:59:59.999Z"),
                ("play", "2025-02-01T00:00:00Z"),
            ],
        );
        assert_eq!(
            ask(JANUARY),
            json!([
                {"date": "2025-01-01", "play": 1, "stop": 1},
                {"date": "2025-01-04", "play": 1},
                {"date": "2025-01-05", "play": 1},
                {"date": "2025-01-06", "play": 1},
                {"date": "2025-01-31", "play": 1},
            ])
        );
        assert_eq!(ask(JANUARY), ask(&format!("{JANUARY}&group_by=day")));
        // Weeks carry their first day even where that lies before the range; what lies before it is not counted.
        assert_eq!(
            ask(&format!("{JANUARY}&group_by=week")),
            json!([
                {"date": "2024-12-29", "play": 2, "stop": 1},
                {"date": "2025-01-05", "play": 2},
                {"date": "2025-01-26", "play": 1},
            ])
        );
        assert_eq!(
            ask(&format!("{JANUARY}&group_by=week")),
            ask(&format!("{JANUARY}&group_by=week&week_start=sunday"))
        );
        assert_eq!(
            ask(&format!("{JANUARY}&group_by=week&week_start=monday")),
            json!([
                {"date": "2024-12-30", "play": 3, "stop": 1},
                {"date": "2025-01-06", "play": 1},
                {"date": "2025-01-27", "play": 1},
            ])
        );
        assert_eq!(
            ask("start_date=2024-12-31&end_date=2025-02-01&group_by=month"),
            json!([
                {"date": "2024-12-01", "play": 1},
                {"date": "2025-01-01", "play": 5, "stop": 1},
                {"date": "2025-02-01", "play": 1},
            ])
        );
        assert_eq!(
            ask("start_date=2025-01-01&end_date=2025-01-04&group_by=hour"),
            json!([
                {"date": "2025-01-01T00:00", "play": 1},
                {"date": "2025-01-01T13:00", "stop": 1},
                {"date": "2025-01-04T13:00", "play": 1},
            ])
        );
        assert_eq!(ask("start_date=2025-01-05&end_date=2025-01-05"), json!([{"date": "2025-01-05", "play": 1}]));
        // Both ends of a month belong to it, also where the range cuts it.
        assert_eq!(
            ask("start_date=2025-01-05&end_date=2025-01-30&group_by=month"),
            json!([{"date": "2025-01-01", "play": 2}])
        );
    })
}

fn filters() -> Case {
    case("by event, one or more", |site| {
        let at = "2025-03-01T12:00:00Z";
        let ask = posted(site, &[("play", at), ("stop", at), ("stop", at), ("a&b=c", at), ("Play", at)]);
        let march = "start_date=2025-03-01&end_date=2025-03-01";
        let row = |counts: Value| {
            let mut row = json!({"date": "2025-03-01"});
            row.as_object_mut().unwrap().extend(counts.as_object().unwrap().clone());
            json!([row])
        };
        assert_eq!(ask(&format!("{march}&event=play")), row(json!({"play": 1})));
        assert_eq!(ask(&format!("{march}&event=stop&event=play")), row(json!({"play": 1, "stop": 2})));
        assert_eq!(ask(&format!("{march}&event=stop&event=stop")), row(json!({"stop": 2})));
        assert_eq!(ask(&format!("{march}&event=a%26b%3Dc")), row(json!({"a&b=c": 1})));
        assert_eq!(ask(&format!("{march}&event=pause")), json!([]));
        assert_eq!(ask(&format!("{march}&event=pause&event=Play")), row(json!({"Play": 1})));
        assert_eq!(ask(&format!("{march}&event=")), row(json!({"play": 1, "stop": 2, "a&b=c": 1, "Play": 1})));
    })
}

/// As bytes: a parsed object would hide the order.
fn rows_in_order() -> Case {
    case("rows by date, date first, events by name", |site| {
        let user = new_user();
        let event = |event: &str, at: &str| json!({"event": event, "user_id": user, "timestamp": at});
        let position = site.track_batch(&[
            event("b", "2025-01-02T00:00:00Z"),
            event("z", "0999-01-01T00:00:00Z"),
            event("a", "2025-01-02T00:00:00Z"),
            event("aardvark", "2025-01-01T00:00:00Z"),
        ]);
        let answer = site.send(&Request::get(format!("/metrics?{EVER}&user_id={user}&min_position={position}")));
        assert_eq!(
            String::from_utf8(answer.body).unwrap(),
            r#"{"status":"success","data":[{"date":"0999-01-01","z":1},{"date":"2025-01-01","aardvark":1},{"date":"2025-01-02","a":1,"b":1}]}"#
        );
    })
}

/// Names that other languages trip over are plain names.
fn names() -> Case {
    case("event names of every kind", |site| {
        for name in [
            "__proto__",
            "constructor",
            "prototype",
            "hasOwnProperty",
            "toString",
            "a:b",
            "a:2025-01-01",
            "..",
            "../x",
            "🎵",
            "👩‍👩‍👧‍👦",
            "e\u{301}",
            "é",
            "null",
            "true",
            "0",
            "-0",
            "1e5",
            "status",
            "data",
            "Date",
            "date ",
            "dаte",
            "\u{2028}",
            "\u{feff}x",
            "\"",
            "\\",
            "</script>",
            "{}",
            "[]",
            " ",
            "%s%n",
            "\u{202e}x",
        ] {
            let ask = posted(site, &[(name, "2025-01-01T12:00:00Z")]);
            let mut row = json!({"date": "2025-01-01"});
            row[name] = json!(1);
            assert_eq!(ask(JANUARY), json!([row]), "{name:?}");
            assert_eq!(ask(&format!("{JANUARY}&event={}", crate::site::encoded(name))), json!([row]), "{name:?}");
        }
    })
}

fn read_your_writes() -> Case {
    case("a position sent back shows what lies there, as parameter and as header", |site| {
        let user = new_user();
        for count in 1..=20 {
            let position = site.track(&json!({"event": "play", "user_id": user, "timestamp": "2025-01-01T12:00:00Z"}));
            let expected = json!([{"date": "2025-01-01", "play": count}]);
            assert_eq!(site.data(&format!("/metrics?{JANUARY}&user_id={user}"), &position), expected);
            let request =
                Request::get(format!("/metrics?{JANUARY}&user_id={user}")).header("track-position", &position);
            assert_eq!(site.send(&request).json().unwrap()["data"], expected);
        }
    })
}

/// A position that nothing has reached: the wait is bounded, and the answer is not one that lacks it.
fn not_there_yet() -> Case {
    case("a position that is not there yet", |site| {
        let user = new_user();
        let position = site.track(&json!({"event": "play", "user_id": user}));
        let (partition, _) = position.split_once(':').unwrap();
        for path in ["/metrics", "/sessions"] {
            let query = format!("{path}?{JANUARY}&user_id={user}&min_position={partition}:999999999999");
            let answer = site.send(&Request::get(query));
            assert_eq!(answer.status, 503, "{answer}");
            let partition: u32 = partition.parse().unwrap();
            assert_eq!(answer.json().unwrap()["partitions"], json!([partition]), "{answer}");
        }
    })
}
