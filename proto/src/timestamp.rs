//! A timestamp in the form in which nearly all of them come, `2025-01-31T12:00:00.000Z`, read in one go.
//!
//! chrono reads every form there is, at several times the cost; what this does not know is left to it. A property test holds the
//! two together.

/// Days before each month in a year that begins in March, so that the leap day comes last.
const DAYS_BEFORE: [i64; 12] = [306, 337, 0, 31, 61, 92, 122, 153, 184, 214, 245, 275];
/// From the 1st of March of the year 0 to 1970.
const DAYS_TO_1970: i64 = 719_468;

/// Milliseconds since 1970 UTC of `YYYY-MM-DDThh:mm:ssZ`, with or without a fraction of a second; what is finer than a millisecond
/// is cut off. `None` for any other form, for a leap second, and for what is no time.
pub(crate) fn parse_utc(text: &[u8]) -> Option<i64> {
    let (seconds, fraction) = text.split_first_chunk::<19>()?;
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', _, _, b':', _, _, b':', _, _] = seconds else { return None };
    let (year, month, day) = (number(&seconds[..4])?, number(&seconds[5..7])?, number(&seconds[8..10])?);
    let (hour, minute, second) = (number(&seconds[11..13])?, number(&seconds[14..16])?, number(&seconds[17..])?);
    if hour > 23 || minute > 59 || second > 59 || day == 0 || day > days_of(year, month)? {
        return None;
    }
    let millisecond = match fraction.split_last()? {
        (b'Z', []) => 0,
        (b'Z', [b'.', digits @ ..]) => milliseconds(digits)?,
        _ => return None,
    };
    Some(((days_since_1970(year, month, day)? * 24 + hour) * 60 + minute) * 60_000 + second * 1_000 + millisecond)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

fn milliseconds(fraction: &[u8]) -> Option<i64> {
    if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |byte| i64::from(byte - b'0'));
    Some(digit(0) * 100 + digit(1) * 10 + digit(2))
}

fn days_of(year: i64, month: i64) -> Option<i64> {
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => return None,
    })
}

/// Of the Gregorian calendar, for years from 0 on.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let before = DAYS_BEFORE.get(usize::try_from(month - 1).ok()?)?;
    let year = if month > 2 { year } else { year - 1 };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(year * 365 + leap_days + before + day - 1 - DAYS_TO_1970)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use proptest::prelude::*;

    fn by_chrono(text: &str) -> Option<i64> {
        DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
    }

    #[test]
    fn every_day_of_some_years_is_chronos() {
        for year in [0, 1, 4, 1899, 1900, 1969, 1970, 1999, 2000, 2024, 2025, 2100, 2400, 9999] {
            for (month, day) in (0..=13).flat_map(|month| (0..=32).map(move |day| (month, day))) {
                let text = format!("{year:04}-{month:02}-{day:02}T23:59:59.999Z");
                assert_eq!(parse_utc(text.as_bytes()), by_chrono(&text), "{text}");
            }
        }
    }

    #[test]
    fn other_forms_are_left_to_chrono() {
        for other in ["", "2025-01-01", "2025-01-01T00:00:00", "2025-01-01T00:00:00+00:00", "2016-12-31T23:59:60Z"] {
            assert_eq!(parse_utc(other.as_bytes()), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_chrono_reads(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,9})?Z?",
            at: prop::sample::Index, byte in "[ -~]",
        ) {
            let mut changed = text.clone();
            let at = at.index(text.len());
            changed.replace_range(at..=at, &byte);
            for text in [text, changed] {
                if let Some(timestamp_ms) = parse_utc(text.as_bytes()) {
                    prop_assert_eq!(Some(timestamp_ms), by_chrono(&text), "{}", text);
                }
            }
        }
    }
}
