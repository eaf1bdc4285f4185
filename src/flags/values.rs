//! What a value may look like. Each error says what is allowed; clap says which flag and what was given.

use super::Side;
use bytesize::ByteSize;
use std::net::SocketAddr;
use std::time::Duration;
use track_processor::SessionPair;
use track_proto::event;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Below it RocksDB's buffers are too small to be of use.
const MEMORY_MIN: ByteSize = ByteSize::mib(32);
/// Room for the largest batch, whose events are a little longer on the log than in the request.
const SPOOL_MIN: ByteSize = ByteSize::mib(32);

/// Several pairs in one value: a line each.
#[derive(Debug, Clone)]
pub(super) struct SessionPairs(pub(super) Vec<SessionPair>);

/// Several settings in one value: a line each.
#[derive(Debug, Clone)]
pub(super) struct Properties(pub(super) Vec<(String, String)>);

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| {
        "expected an address with a port, such as 127.0.0.1:8080, 0.0.0.0:8080 for all IPv4 interfaces or [::]:8080 for all"
            .to_owned()
    })
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; expected a number with its unit, such as 30s, 12h, 30d or \"1d 12h\""))
}

pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_millis(1), DAY)
}

pub(super) fn checkpoint_interval(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_millis(100), DAY)
}

pub(super) fn session_duration(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1), 36_500 * DAY)
}

pub(super) fn retention(text: &str) -> Result<Duration, String> {
    within(text, 30 * DAY, 36_500 * DAY)
}

fn within(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let say = |duration: Duration| match duration.as_secs() {
        seconds if seconds > 0 && seconds.is_multiple_of(DAY.as_secs()) => format!("{}d", seconds / DAY.as_secs()),
        _ => humantime::format_duration(duration).to_string(),
    };
    match duration(text)? {
        duration if duration < min => Err(format!("must be at least {}", say(min))),
        duration if duration > max => Err(format!("must be at most {}", say(max))),
        duration => Ok(duration),
    }
}

pub(super) fn moment(text: &str) -> Result<i64, String> {
    event::parse_timestamp(text).ok_or_else(|| "expected a time such as 2025-01-01T00:00:00Z".to_owned())
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| (0.001..=1e9).contains(rate));
    rate.ok_or_else(|| "expected how many a second, at most 1e9".to_owned())
}

pub(super) fn memory(text: &str) -> Result<ByteSize, String> {
    size(text, MEMORY_MIN)
}

pub(super) fn spool_size(text: &str) -> Result<ByteSize, String> {
    size(text, SPOOL_MIN)
}

fn size(text: &str, min: ByteSize) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|_| "expected a size such as 512MiB or 4GiB".to_owned())?;
    if size < min { Err(format!("must be at least {}", min.display().iec())) } else { Ok(size) }
}

pub(super) fn session_pairs(text: &str) -> Result<SessionPairs, String> {
    let pair = |line: &str| {
        let (open, close) = line
            .split_once(':')
            .filter(|(_, close)| !close.contains(':'))
            .ok_or_else(|| "expected open:close, such as play:stop".to_owned())?;
        for name in [open, close] {
            event::check_name(name).map_err(|error| error.to_string())?;
        }
        if open == close {
            return Err(format!("\"{open}\" can't both open and close"));
        }
        Ok(SessionPair { open: open.to_owned(), close: close.to_owned() })
    };
    lines(text, "expected open:close, such as play:stop", pair).map(SessionPairs)
}

pub(super) fn properties(text: &str) -> Result<Properties, String> {
    const EXPECTED: &str = "expected key=value, such as security.protocol=SASL_SSL";
    lines(text, EXPECTED, |line| match line.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(EXPECTED.to_owned()),
    })
    .map(Properties)
}

/// One value a line; at least one.
fn lines<T>(text: &str, expected: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let values: Vec<T> = text.lines().filter(|line| !line.is_empty()).map(parse).collect::<Result<_, _>>()?;
    if values.is_empty() { Err(expected.to_owned()) } else { Ok(values) }
}

pub(super) fn brokers(text: &str) -> Result<String, String> {
    let is_broker = |broker: &str| {
        broker.trim().rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    if text.split(',').all(is_broker) {
        Ok(text.to_owned())
    } else {
        Err("expected host:port, or several separated by commas, such as kafka-1:9092,kafka-2:9092".to_owned())
    }
}

pub(super) fn origin(text: &str) -> Result<String, String> {
    let is_origin = || {
        let uri: http::Uri = text.parse().ok()?;
        let origin = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
        (origin == text).then_some(())
    };
    if text == "*" || is_origin().is_some() {
        Ok(text.to_owned())
    } else {
        Err("expected * or an origin, a scheme and a host without a path, such as https://example.org".to_owned())
    }
}

pub(super) fn url(text: &str) -> Result<String, String> {
    let is_url = || {
        let uri: http::Uri = text.parse().ok()?;
        let plain = uri.path() == "/" && uri.query().is_none() && !uri.host()?.is_empty();
        (plain && ["http", "https"].contains(&uri.scheme_str()?)).then_some(())
    };
    if is_url().is_some() {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("expected a url without a path, such as http://processor-1:8082 or https://processor-1:8082".to_owned())
    }
}

pub(super) fn side(text: &str) -> Result<Side, String> {
    if text.is_empty() {
        return Err("expected a folder, or a url such as http://processor-1:8082".to_owned());
    }
    if text.contains("://") { url(text).map(Side::Url) } else { Ok(Side::Folder(text.into())) }
}

pub(super) fn name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("must not be empty".to_owned())
    } else if text.len() > 200 || text.chars().any(char::is_control) {
        Err("must be at most 200 bytes, without control characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

pub(super) fn log_level(text: &str) -> Result<String, String> {
    const EXPECTED: &str =
        "expected error, warn, info, debug, trace or off, or directives such as info,track_log=debug";
    // A lone word that is no level would pass as the name of a module, and everything else would go silent.
    let level = text.to_lowercase();
    let is_level = ["error", "warn", "info", "debug", "trace", "off"].contains(&level.as_str());
    let directives = || text.contains('=') && tracing_subscriber::EnvFilter::builder().parse(text).is_ok();
    if is_level {
        Ok(level)
    } else if directives() {
        Ok(text.to_owned())
    } else {
        Err(EXPECTED.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, address_expected) in
            [("0.0.0.0:80", "0.0.0.0:80"), ("localhost:1", "127.0.0.1:1"), ("[::1]:0", "[::1]:0")]
        {
            assert_eq!(address(text).unwrap().to_string(), address_expected);
        }
    }

    #[test]
    fn urls_and_origins_have_no_path() {
        assert_eq!(url("https://p1:8082/").unwrap(), "https://p1:8082");
        assert_eq!(url("http://[::1]:8082").unwrap(), "http://[::1]:8082");
        for wrong in ["", "p1", "ftp://p1", "http://", "http://p1?x", "http://p1/x"] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
        assert_eq!(origin("http://localhost:3000").unwrap(), "http://localhost:3000");
        for wrong in ["", "null", "http://a/", "HTTP://a", "a.org"] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_state_is_in_a_folder_or_behind_a_url() {
        assert_eq!(side("http://p1:8082/").unwrap(), Side::Url("http://p1:8082".into()));
        assert_eq!(side("./track-data").unwrap(), Side::Folder("./track-data".into()));
        for wrong in ["", "ftp://p1", "http://p1:8082/digest"] {
            assert!(side(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_and_durations() {
        assert_eq!(memory("1GiB").unwrap().as_u64(), 1 << 30);
        assert_eq!(retention("1y").unwrap().as_secs() / DAY.as_secs(), 365);
        assert_eq!(timeout("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(retention("1d").unwrap_err(), "must be at least 30d");
        assert_eq!(memory("8MB").unwrap_err(), "must be at least 32.0 MiB");
    }

    #[test]
    fn levels_and_directives_but_no_typos() {
        assert_eq!(log_level("WARN").unwrap(), "warn");
        assert_eq!(log_level("info,track_log=debug").unwrap(), "info,track_log=debug");
        for wrong in ["", "inof", "info,", "track_log=loud"] {
            assert!(log_level(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn moments_shares_and_rates() {
        assert_eq!(moment("1970-01-01T01:00:00+01:00"), Ok(0));
        assert!(moment("today").is_err());
        assert_eq!(share("0.25"), Ok(0.25));
        assert!(share("1.1").is_err() && share("NaN").is_err());
        assert_eq!(rate("1e3"), Ok(1_000.0));
        assert!(rate("0").is_err() && rate("-1").is_err() && rate("NaN").is_err());
    }

    #[test]
    fn a_broker_has_a_port() {
        assert!(brokers("a:9092, b:9093").is_ok());
        assert!(brokers("[::1]:9092").is_ok());
        for wrong in ["", "a", "a:", "a:b", "a:9092,"] {
            assert!(brokers(wrong).is_err(), "{wrong}");
        }
    }
}
