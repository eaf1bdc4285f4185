//! A row's key, for people: which user, day and event it is about.

use crate::state::{Family, counts, marks, session_sums, timelines};

/// What the row of this key is about, in words: `user "ann", day 2025-01-01, event "play"`. The bytes in hexadecimal where the
/// key, or the family, is not one that this version writes.
#[must_use]
pub fn describe_row(family: &str, key: &[u8]) -> String {
    let known = Family::ALL.into_iter().find(|known| known.name() == family);
    let described = known.and_then(|family| match family {
        Family::Marks => marks::describe_key(key),
        Family::Timelines => timelines::describe_key(key),
        Family::UserCounts => counts::describe_user_key(key),
        Family::StretchCounts => counts::describe_stretch_key(key),
        Family::QuarterCounts => counts::describe_total_key(key),
        Family::UserSessions => session_sums::describe_user_key(key),
        Family::StretchSessions => session_sums::describe_stretch_key(key),
        Family::QuarterSessions => session_sums::describe_total_key(key),
    });
    described.unwrap_or_else(|| {
        let bytes: Vec<String> = key.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("key {}", bytes.concat())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_shown_as_bytes() {
        assert_eq!(describe_row("user-counts", &[0xff, 0x00, 0x12]), "key ff0012");
        assert_eq!(describe_row("of-tomorrow", b"a"), "key 61");
    }

    #[test]
    fn every_family_has_words_for_its_keys() {
        let (of_user, over_all) = (counts::user_key("ann", 20_089, "play"), counts::total_key(20_089, "play"));
        assert_eq!(describe_row("user-counts", &of_user), r#"user "ann", day 2025-01-01, event "play""#);
        assert_eq!(describe_row("quarter-counts", &over_all), r#"day 2025-01-01, event "play""#);
        let of_stretch = counts::stretch_key(0, "play");
        assert_eq!(describe_row("stretch-counts", &of_stretch), r#"days 1970-01-01 to 1970-02-01, event "play""#);
        let (of_stretch, over_all) = (session_sums::stretch_key(0, 0), session_sums::total_key(20_089, 0));
        assert_eq!(describe_row("stretch-sessions", &of_stretch), "days 1970-01-01 to 1970-02-01, session pair 0");
        assert_eq!(describe_row("quarter-sessions", &over_all), "day 2025-01-01, session pair 0");
        let of_user = session_sums::user_key("ann", 20_089, 0);
        assert_eq!(describe_row("user-sessions", &of_user), r#"user "ann", day 2025-01-01, session pair 0"#);
        assert_eq!(describe_row("marks", &marks::key("ann", "7")), r#"user "ann", event_id "7""#);
        assert!(describe_row("timelines", b"ann\0\0\0").contains("latest edges"));
    }
}
