//! What must hold of any query string. Run by `fuzz/` with what libFuzzer thinks of, and below with proptest.

use crate::error::QueryError;
use crate::params::{self, ParamError, Params};
use crate::plan::{self, Plan};
use chrono::NaiveDate;
use http::{HeaderValue, StatusCode};
use std::num::NonZeroU32;
use track_proto::event::{check_name, check_user_id};
use track_proto::view::{GroupBy, WeekStart};

const PARTITIONS: NonZeroU32 = NonZeroU32::new(12).unwrap();

/// The first line is a query string; each further one the value of a header that names positions.
///
/// # Panics
/// Where reading it panics, what is refused is not a 400, or what is understood does not come back from its own
/// query string.
pub fn query_params(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let query = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let headers: Vec<HeaderValue> = lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let params = match params::parse(&query, &headers) {
        Ok(params) => params,
        Err(refused) => return check_refusal(refused),
    };

    let question = &params.question;
    assert!(question.calendar.start_day <= question.calendar.end_day);
    assert!(question.user_id.as_deref().is_none_or(|user_id| check_user_id(user_id).is_ok()));
    assert!(question.events.iter().all(|event| check_name(event).is_ok()));
    assert!(question.events.is_sorted_by(|a, b| a < b), "each name once");
    let canonical = query_string(&params);
    let again = params::parse(&canonical, []).map_err(|error| error.to_string());
    assert_eq!(again.map(|again| format!("{again:?}")), Ok(format!("{params:?}")), "{canonical}");

    let (user_id, positions) = (question.user_id.clone(), params.min_positions.clone());
    match plan::plan(params, PARTITIONS) {
        Ok(Plan { requests, .. }) => {
            let partitions: Vec<u32> = requests.iter().map(|request| request.partition).collect();
            let all = user_id.is_none() && partitions.iter().copied().eq(0..PARTITIONS.get());
            let one = user_id.is_some() && partitions.len() == 1 && partitions[0] < PARTITIONS.get();
            assert!(all || one, "{partitions:?}");
            assert!(requests.iter().all(|request| request.min_offset == positions.get(&request.partition).copied()));
        }
        Err(refused) => {
            assert!(positions.keys().any(|partition| *partition >= PARTITIONS.get()));
            check_refusal(refused);
        }
    }
}

fn check_refusal(refused: ParamError) {
    assert!(!refused.to_string().is_empty());
    assert_eq!(QueryError::from(refused).into_response().status(), StatusCode::BAD_REQUEST);
}

/// The query string that says everything that `params` are.
fn query_string(params: &Params) -> String {
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let date = |day: i32| NaiveDate::from_epoch_days(day).map(|date| date.to_string()).unwrap_or_default();
    let Params { question, allow_partial, min_positions } = params;
    let calendar = &question.calendar;
    let group_by = match calendar.group_by {
        GroupBy::Day => "day",
        GroupBy::Week => "week",
        GroupBy::Month => "month",
        GroupBy::Hour => "hour",
    };
    let week_start = match calendar.week_start {
        WeekStart::Sunday => "sunday",
        WeekStart::Monday => "monday",
    };
    let positions: Vec<String> =
        min_positions.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
    let events: String = question.events.iter().map(|event| format!("&event={}", encoded(event))).collect();
    format!(
        "start_date={}&end_date={}&group_by={group_by}&week_start={week_start}&timezone={}&user_id={}{events}\
         &allow_partial={allow_partial}&min_position={}",
        date(calendar.start_day),
        date(calendar.end_day),
        encoded(calendar.timezone.name()),
        encoded(question.user_id.as_deref().unwrap_or_default()),
        positions.join(","),
    )
}

#[cfg(test)]
mod tests {
    use super::query_params;
    use proptest::prelude::*;

    #[test]
    fn the_corpus_holds() {
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/query_params")).unwrap() {
            query_params(&std::fs::read(file.unwrap().path()).unwrap());
        }
    }

    fn parameter() -> impl Strategy<Value = String> {
        let name = "start_date|end_date|group_by|user_id|event|timezone|week_start|allow_partial|min_position|x|";
        let value = "day|week|month|hour|sunday|monday|true|false|Europe%2FBerlin|Asia/Kolkata|UTC|2025-0[0-9]-[0-3][0-9]|\
                     [0-9]{1,2}:[0-9]{1,20}(,[0-9]:[0-9]{1,3}){0,2}|(%[0-9a-f]{2}){0,4}|[a-z+%&=]{0,9}|\\PC{0,5}";
        (name, value).prop_map(|(name, value)| format!("{name}={value}"))
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_hold(data: Vec<u8>) {
            query_params(&data);
        }

        #[test]
        fn parameters_hold(parameters in prop::collection::vec(parameter(), 0..6), header in "[0-9:, x]{0,12}") {
            let rest = parameters.join("&");
            query_params(rest.as_bytes());
            query_params(format!("start_date=2024-12-31&end_date=2025-01-31&{rest}\n{header}").as_bytes());
        }
    }
}
