//! How complete an answer is: the headers `Track-As-Of` and `Track-Lag-Ms`.

use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderMap, HeaderName, HeaderValue};
use track_proto::v1::AsOf;

/// Everything that the log took before this moment is in the answer, RFC 3339 in UTC.
pub const AS_OF_HEADER: HeaderName = HeaderName::from_static("track-as-of");
/// How long before the answer that moment was, in milliseconds.
pub const LAG_HEADER: HeaderName = HeaderName::from_static("track-lag-ms");

/// Says what all of `answers` include, at `now_ms`; nothing where one of them does not know.
pub(crate) fn write<'a>(answers: impl Iterator<Item = Option<&'a AsOf>>, now_ms: i64, headers: &mut HeaderMap) {
    let complete_to = |as_of: Option<&AsOf>| {
        let AsOf { complete_to_ms, stream_time_ms, .. } = as_of?;
        [*complete_to_ms, *stream_time_ms].into_iter().find(|ms| *ms > 0)
    };
    let oldest_ms = answers.map(complete_to).try_fold(now_ms, |oldest_ms, ms| Some(oldest_ms.min(ms?)));
    let Some(as_of) = oldest_ms.and_then(DateTime::<Utc>::from_timestamp_millis) else { return };
    let as_of_text = as_of.to_rfc3339_opts(SecondsFormat::Millis, true);
    if let Ok(value) = HeaderValue::try_from(as_of_text) {
        headers.insert(AS_OF_HEADER, value);
        headers.insert(LAG_HEADER, HeaderValue::from(now_ms - as_of.timestamp_millis()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_735_689_600_500;

    fn headers(answers: &[AsOf]) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        write(answers.iter().map(Some), NOW_MS, &mut headers);
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned());
        Some((text(AS_OF_HEADER)?, text(LAG_HEADER)?))
    }

    fn complete_to(complete_to_ms: i64, stream_time_ms: i64) -> AsOf {
        AsOf { complete_to_ms, stream_time_ms, ..AsOf::default() }
    }

    #[test]
    fn the_oldest_counts() {
        let answers = [complete_to(NOW_MS, 5), complete_to(NOW_MS - 1_500, 0)];
        assert_eq!(headers(&answers), Some(("2024-12-31T23:59:59.000Z".into(), "1500".into())));
        assert_eq!(headers(&[]), Some(("2025-01-01T00:00:00.500Z".into(), "0".into())));
    }

    #[test]
    fn a_clock_that_is_ahead_is_not_believed() {
        assert_eq!(headers(&[complete_to(NOW_MS + 9, 0)]), Some(("2025-01-01T00:00:00.500Z".into(), "0".into())));
    }

    #[test]
    fn stream_time_stands_in_and_what_is_not_known_is_not_said() {
        assert_eq!(headers(&[complete_to(0, NOW_MS - 500)]), Some(("2025-01-01T00:00:00.000Z".into(), "500".into())));
        assert_eq!(headers(&[complete_to(NOW_MS, 0), complete_to(0, 0)]), None);
    }
}
