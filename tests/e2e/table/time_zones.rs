//! Local days and hours: zones with halves and quarters, a day that never was, days of 23 and of 25 hours.

use crate::case::{Case, case};
use crate::site::new_user;
use serde_json::{Value, json};

/// In this zone, an event at each instant counts for the label beside it.
fn zone(name: &'static str, group_by: &'static str, labels: &'static [(&'static str, &'static str)]) -> Case {
    case(format!("{name} by {group_by}"), move |site| {
        let user = new_user();
        let events: Vec<Value> =
            labels.iter().map(|(at, _)| json!({"event": "play", "user_id": user, "timestamp": at})).collect();
        let position = site.track_batch(&events);
        let mut expected: Vec<Value> = Vec::new();
        for (_, label) in labels {
            match expected.last_mut() {
                Some(row) if row["date"] == *label => row["play"] = json!(row["play"].as_u64().unwrap() + 1),
                _ => expected.push(json!({"date": label, "play": 1})),
            }
        }
        let query = format!("/metrics?user_id={user}&group_by={group_by}&timezone={name}");
        let all = site.data(&format!("{query}&start_date=2010-01-01&end_date=2026-01-01"), &position);
        assert_eq!(all, json!(expected));
        // Asked for one day alone, that day is the same.
        if group_by == "day" {
            for row in &expected {
                let day = row["date"].as_str().unwrap();
                let one = site.data(&format!("{query}&start_date={day}&end_date={day}"), &position);
                assert_eq!(one, json!([row]));
            }
        }
    })
}

pub fn cases() -> Vec<Case> {
    vec![
        zone(
            "Asia/Kolkata",
            "day",
            &[
                ("2025-01-01T18:29:59.999Z", "2025-01-01"),
                ("2025-01-01T18:30:00Z", "2025-01-02"),
                ("2025-01-02T18:29:59.999Z", "2025-01-02"),
                ("2025-01-02T18:30:00Z", "2025-01-03"),
            ],
        ),
        zone(
            "Asia/Kolkata",
            "hour",
            &[
                ("2025-01-01T18:29:59Z", "2025-01-01T23:00"),
                ("2025-01-01T18:30:00Z", "2025-01-02T00:00"),
                ("2025-01-01T19:29:59Z", "2025-01-02T00:00"),
                ("2025-01-01T19:30:00Z", "2025-01-02T01:00"),
            ],
        ),
        zone(
            "America/St_Johns",
            "day",
            &[
                ("2025-01-01T03:29:59.999Z", "2024-12-31"),
                ("2025-01-01T03:30:00Z", "2025-01-01"),
                ("2025-07-01T02:29:59.999Z", "2025-06-30"),
                ("2025-07-01T02:30:00Z", "2025-07-01"),
            ],
        ),
        zone(
            "America/St_Johns",
            "month",
            &[
                ("2025-01-01T03:29:59.999Z", "2024-12-01"),
                ("2025-01-01T03:30:00Z", "2025-01-01"),
                ("2025-07-01T02:29:59.999Z", "2025-06-01"),
                ("2025-07-01T02:30:00Z", "2025-07-01"),
            ],
        ),
        zone(
            "Asia/Kathmandu",
            "day",
            &[("2025-01-01T18:14:59.999Z", "2025-01-01"), ("2025-01-01T18:15:00Z", "2025-01-02")],
        ),
        zone(
            "Asia/Kathmandu",
            "hour",
            &[
                ("2025-01-01T18:14:59Z", "2025-01-01T23:00"),
                ("2025-01-01T18:15:00Z", "2025-01-02T00:00"),
                ("2025-01-01T19:14:59Z", "2025-01-02T00:00"),
            ],
        ),
        // Samoa went over the date line: after the 29th of December 2011 came the 31st.
        zone(
            "Pacific/Apia",
            "day",
            &[
                ("2011-12-30T09:59:59.999Z", "2011-12-29"),
                ("2011-12-30T10:00:00Z", "2011-12-31"),
                ("2025-01-01T10:59:59.999Z", "2025-01-01"),
                ("2025-01-01T11:00:00Z", "2025-01-02"),
            ],
        ),
        // The clocks go forward at two: a day of 23 hours.
        zone(
            "America/New_York",
            "day",
            &[
                ("2025-03-09T04:59:59.999Z", "2025-03-08"),
                ("2025-03-09T05:00:00Z", "2025-03-09"),
                ("2025-03-10T03:59:59.999Z", "2025-03-09"),
                ("2025-03-10T04:00:00Z", "2025-03-10"),
                ("2025-11-02T03:59:59.999Z", "2025-11-01"),
                ("2025-11-02T04:00:00Z", "2025-11-02"),
                ("2025-11-03T04:59:59.999Z", "2025-11-02"),
                ("2025-11-03T05:00:00Z", "2025-11-03"),
            ],
        ),
        // One hour is missing in March, one comes twice in November.
        zone(
            "America/New_York",
            "hour",
            &[
                ("2025-03-09T06:59:59Z", "2025-03-09T01:00"),
                ("2025-03-09T07:00:00Z", "2025-03-09T03:00"),
                ("2025-11-02T05:30:00Z", "2025-11-02T01:00"),
                ("2025-11-02T06:30:00Z", "2025-11-02T01:00"),
                ("2025-11-02T07:00:00Z", "2025-11-02T02:00"),
            ],
        ),
        zone(
            "America/New_York",
            "week",
            &[
                ("2025-03-09T04:59:59Z", "2025-03-02"),
                ("2025-03-09T05:00:00Z", "2025-03-09"),
                ("2025-11-09T04:59:59Z", "2025-11-02"),
                ("2025-11-09T05:00:00Z", "2025-11-09"),
            ],
        ),
        zone(
            "America/New_York",
            "week&week_start=monday",
            &[
                ("2025-03-10T03:59:59Z", "2025-03-03"),
                ("2025-03-10T04:00:00Z", "2025-03-10"),
                ("2025-11-03T04:59:59Z", "2025-10-27"),
                ("2025-11-03T05:00:00Z", "2025-11-03"),
            ],
        ),
        // Half an hour back, inside an hour.
        zone(
            "Australia/Lord_Howe",
            "hour",
            &[
                ("2025-04-05T14:59:59Z", "2025-04-06T01:00"),
                ("2025-04-05T15:00:00Z", "2025-04-06T01:00"),
                ("2025-04-05T15:29:59Z", "2025-04-06T01:00"),
                ("2025-04-05T15:30:00Z", "2025-04-06T02:00"),
            ],
        ),
        zone(
            "Pacific/Kiritimati",
            "day",
            &[("2025-01-01T09:59:59Z", "2025-01-01"), ("2025-01-01T10:00:00Z", "2025-01-02")],
        ),
        zone("Etc/GMT%2B12", "day", &[("2025-01-01T11:59:59Z", "2024-12-31"), ("2025-01-01T12:00:00Z", "2025-01-01")]),
    ]
}
