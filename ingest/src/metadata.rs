//! Metadata: any JSON object, kept as its producer wrote it but for white space, and bounded.

use crate::error::Flaw;
use bytes::BufMut;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use track_proto::event::METADATA_BYTES_MAX;

/// What stands in the place of metadata that is too large, and in an answer's warnings.
pub(crate) const TRUNCATED: &str = "Metadata truncated due to size limit";

/// The key under which a change is told.
const WARNING_KEY: &str = "warning";

/// Metadata on its way to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Metadata<'a> {
    Absent,
    /// The producer's, white space and all; `compact_bytes` long without it.
    Kept {
        json: &'a str,
        compact_bytes: usize,
    },
    /// Ours, compact.
    Made(String),
}

impl<'a> Metadata<'a> {
    /// Takes what a producer sent; with `warning`, tells in it that something else of the event was changed.
    /// The second value says whether it was too large, and is therefore replaced.
    ///
    /// # Errors
    /// [`Flaw::NotMetadata`] where it is not an object.
    pub(crate) fn take(sent: Option<&'a RawValue>, warning: Option<&'static str>) -> Result<(Self, bool), Flaw> {
        let Some(json) = sent.map(RawValue::get) else {
            let made = warning.map_or(Self::Absent, |warning| Self::Made(format!(r#"{{"warning":"{warning}"}}"#)));
            return Ok((made, false));
        };
        if !json.starts_with('{') {
            return Err(Flaw::NotMetadata);
        }
        let compact_bytes = compact_len(json);
        if compact_bytes > METADATA_BYTES_MAX {
            return Ok((Self::truncated(compact_bytes, warning), true));
        }
        let Some(warning) = warning else { return Ok((Self::Kept { json, compact_bytes }, false)) };
        let made = with_warning(json, warning);
        if made.len() > METADATA_BYTES_MAX {
            return Ok((Self::truncated(compact_bytes, Some(warning)), true));
        }
        Ok((Self::Made(made), false))
    }

    fn truncated(compact_bytes: usize, warning: Option<&'static str>) -> Self {
        let (separator, warning) = warning.map_or(("", ""), |warning| ("; ", warning));
        Self::Made(format!(r#"{{"warning":"{TRUNCATED}{separator}{warning}","originalSize":{compact_bytes}}}"#))
    }

    /// Its length on the log, in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Kept { compact_bytes, .. } => *compact_bytes,
            Self::Made(json) => json.len(),
        }
    }

    /// Writes it as it lies on the log.
    pub(crate) fn write(&self, into: &mut impl BufMut) {
        match self {
            Self::Absent => {}
            Self::Kept { json, compact_bytes } if json.len() == *compact_bytes => into.put_slice(json.as_bytes()),
            Self::Kept { json, .. } => compact_runs(json, |run| into.put_slice(run.as_bytes())),
            Self::Made(json) => into.put_slice(json.as_bytes()),
        }
    }
}

fn compact_len(json: &str) -> usize {
    // Most metadata is compact, and JSON has no other byte that is as small as a space. Looks at every byte, whatever it finds:
    // that way the compiler takes many at once.
    if json.bytes().fold(true, |compact, byte| compact & (byte > b' ')) {
        return json.len();
    }
    let mut bytes = 0;
    compact_runs(json, |run| bytes += run.len());
    bytes
}

/// Gives the pieces of `json`, which must be JSON, that are not white space between tokens. Numbers and strings stay
/// as they are written.
fn compact_runs<'a>(json: &'a str, mut run: impl FnMut(&'a str)) {
    let bytes = json.as_bytes();
    let (mut start, mut at) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at),
            b' ' | b'\t' | b'\n' | b'\r' => {
                if start < at {
                    run(&json[start..at]);
                }
                at += 1;
                start = at;
            }
            _ => at += 1,
        }
    }
    if start < at {
        run(&json[start..]);
    }
}

/// Where the string that opens at `open` is over.
fn string_end(bytes: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    loop {
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

/// The object `json`, compact, with `warning` under [`WARNING_KEY`] in place of what the producer had there.
fn with_warning(json: &str, warning: &str) -> String {
    let Members(members) = serde_json::from_str(json).expect("a RawValue that begins with a brace is an object");
    let mut made = String::with_capacity(json.len() + warning.len() + WARNING_KEY.len() + 8);
    made.push('{');
    for (key, value) in members {
        // A key that is no Unicode text (half a surrogate pair) is not ours.
        if serde_json::from_str::<Cow<'_, str>>(key.get()).is_ok_and(|key| key == WARNING_KEY) {
            continue;
        }
        made.push_str(key.get());
        made.push(':');
        compact_runs(value.get(), |run| made.push_str(run));
        made.push(',');
    }
    made.push_str(r#""warning":""#);
    made.push_str(warning);
    made.push_str("\"}");
    made
}

/// The members of an object, as they are written.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use proptest::prelude::*;
    use serde_json::Value;

    const WARNING: &str = "Future timestamp replaced with server time";

    fn take(json: &str, warning: Option<&'static str>) -> (String, bool) {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let (metadata, truncated) = Metadata::take(Some(raw), warning).unwrap();
        let mut bytes = BytesMut::new();
        metadata.write(&mut bytes);
        assert_eq!(metadata.len(), bytes.len());
        (String::from_utf8(bytes.to_vec()).unwrap(), truncated)
    }

    /// An object whose compact form has so many bytes.
    fn of_size(bytes: usize) -> String {
        format!(r#"{{ "a" : "{}" }}"#, "x".repeat(bytes - r#"{"a":""}"#.len()))
    }

    #[test]
    fn only_white_space_between_tokens_goes() {
        let sent = " { \"a b\" :\t[ 1.10 , 1e999 , -0 ] ,\r\n \"c\\\" \\\\\" : \"  \\\" \" , \"é \" : { } } ";
        let kept = r#"{"a b":[1.10,1e999,-0],"c\" \\":"  \" ","é ":{}}"#;
        assert_eq!(take(sent, None), (kept.into(), false));
        assert_eq!(take(kept, None), (kept.into(), false));
        assert_eq!(take("{}", None), ("{}".into(), false));
    }

    #[test]
    fn the_limit_is_on_the_compact_form() {
        assert_eq!(take(&of_size(4_096), None), (of_size(4_096).replace(' ', ""), false));
        let replaced = r#"{"warning":"Metadata truncated due to size limit","originalSize":4097}"#;
        assert_eq!(take(&of_size(4_097), None), (replaced.into(), true));
    }

    #[test]
    fn a_warning_takes_the_place_of_a_warning() {
        let expected = format!(r#"{{"a":{{"warning":1}},"warning":"{WARNING}"}}"#);
        let sent = r#"{ "warning" : 1, "a" : { "warning" : 1 }, "\u0077arning" : [ 2 ] }"#;
        assert_eq!(take(sent, Some(WARNING)), (expected, false));
        assert_eq!(take("{}", Some(WARNING)).0, format!(r#"{{"warning":"{WARNING}"}}"#));
        assert_eq!(take(r#"{"\ud800":1}"#, Some(WARNING)).0, format!(r#"{{"\ud800":1,"warning":"{WARNING}"}}"#));
    }

    #[test]
    fn a_warning_that_makes_it_too_large_leaves_both_facts() {
        for size in [4_090, 5_000] {
            let both = format!(r#"{{"warning":"{TRUNCATED}; {WARNING}","originalSize":{size}}}"#);
            assert_eq!(take(&of_size(size), Some(WARNING)), (both, true));
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for not in ["[]", "1", "\"a\"", "true"] {
            let raw: &RawValue = serde_json::from_str(not).unwrap();
            assert_eq!(Metadata::take(Some(raw), None), Err(Flaw::NotMetadata), "{not}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-z \"\\\\]{0,4}|warning", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn compact_is_what_serde_writes(members in prop::collection::hash_map("[a-z \"]{0,4}|warning", value(), 0..5)) {
            let mut object = Value::Object(members.into_iter().collect());
            let pretty = serde_json::to_string_pretty(&object).unwrap();
            prop_assume!(object.to_string().len() < 4_000);
            prop_assert_eq!(take(&pretty, None).0, object.to_string());
            object["warning"] = WARNING.into();
            prop_assert_eq!(serde_json::from_str::<Value>(&take(&pretty, Some(WARNING)).0).unwrap(), object);
        }
    }
}
