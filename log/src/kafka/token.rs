//! OAUTHBEARER tokens: read from a file that something else keeps fresh (a sidecar, a projected volume).
//!
//! `sasl.oauthbearer.config=token_file=<path>`. The token is a JWT; it is read again when four fifths of its life are over.

use rdkafka::client::OAuthToken;

/// Reads the token that `config` names.
pub(super) fn from_file(config: Option<&str>) -> Result<OAuthToken, String> {
    let path = config
        .and_then(|config| config.split_whitespace().find_map(|setting| setting.strip_prefix("token_file=")))
        .ok_or("OAUTHBEARER needs the Kafka property sasl.oauthbearer.config=token_file=<path of a JWT>")?;
    let token = std::fs::read_to_string(path).map_err(|error| format!("the token file {path}: {error}"))?;
    parse(token.trim()).ok_or_else(|| format!("the token file {path} holds no JWT with an expiry (exp)"))
}

/// Takes from a JWT (RFC 7519) whose it is and until when; its signature is for the brokers to check.
fn parse(token: &str) -> Option<OAuthToken> {
    let claims: serde_json::Value = serde_json::from_slice(&base64url(token.split('.').nth(1)?)?).ok()?;
    Some(OAuthToken {
        token: token.to_owned(),
        principal_name: claims.get("sub").and_then(serde_json::Value::as_str).unwrap_or("track").to_owned(),
        lifetime_ms: claims.get("exp")?.as_i64()?.checked_mul(1000)?,
    })
}

/// Decodes base64url (RFC 4648, section 5), with or without padding.
fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for symbol in text.trim_end_matches('=').bytes() {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).expect("masked to a byte"));
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_its_owner_and_its_end() {
        // {"alg":"none"} and {"sub":"ingest","exp":1900000000}
        let token = parse("eyJhbGciOiJub25lIn0.eyJzdWIiOiJpbmdlc3QiLCJleHAiOjE5MDAwMDAwMDB9.").unwrap();
        assert_eq!((token.principal_name.as_str(), token.lifetime_ms), ("ingest", 1_900_000_000_000));
    }

    #[test]
    fn what_is_no_token_is_said() {
        for (text, not) in [("", "empty"), ("abc", "no parts"), ("a.!.c", "no base64"), ("a.e30.c", "no expiry")] {
            assert!(parse(text).is_none(), "{not}");
        }
        assert!(from_file(None).err().unwrap().contains("token_file="));
        assert!(from_file(Some("token_file=/nowhere/token")).err().unwrap().contains("/nowhere/token"));
    }
}
