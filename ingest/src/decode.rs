//! From bytes to the fields of events, borrowed from the body wherever JSON's escapes allow it.
//!
//! Every event is read in one pass. Only where that fails is the text read again, to tell a break of JSON's grammar,
//! which sinks everything after it, from a value that spoils one event alone.

use crate::error::{Field, Flaw, Refusal};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::str;

/// Events that one batch may have.
pub(crate) const EVENTS_MAX: usize = 10_000;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The fields of one event, as its producer wrote them; `None` is absent or null.
#[derive(Debug, Default, Clone)]
pub(crate) struct Fields<'a> {
    pub(crate) event: Option<Cow<'a, str>>,
    pub(crate) user_id: Option<Cow<'a, str>>,
    pub(crate) event_id: Option<Cow<'a, str>>,
    pub(crate) timestamp: Option<Cow<'a, str>>,
    pub(crate) metadata: Option<&'a RawValue>,
}

/// What became of one event of a batch.
pub(crate) type Item<'a> = Result<Fields<'a>, Flaw>;

/// The event in the body of `POST /track`. A byte order mark before it is skipped.
///
/// # Errors
/// [`Refusal::Empty`] or [`Refusal::Flaw`].
pub(crate) fn one(body: &[u8]) -> Result<Fields<'_>, Refusal> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if body.trim_ascii().is_empty() {
        return Err(Refusal::Empty);
    }
    Ok(item(str::from_utf8(body).map_err(|_| Flaw::Utf8)?)?)
}

/// The events in the body of `POST /track/batch`, in order: of an array where it begins with `[`, else one on each
/// line that is not blank. A byte order mark before them is skipped.
///
/// # Errors
/// [`Refusal`] where there is no event, or too many, or an array is not JSON.
pub(crate) fn batch(body: &[u8]) -> Result<Vec<Item<'_>>, Refusal> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let items = if body.trim_ascii_start().starts_with(b"[") {
        array(str::from_utf8(body).map_err(|_| Flaw::Utf8)?)?
    } else if let Ok(text) = str::from_utf8(body) {
        lines(split_lines(text).map(Ok))?
    } else {
        // One line is not UTF-8: the others may be good.
        lines(body.split(|byte| *byte == b'\n').map(|line| str::from_utf8(line).map_err(|_| Flaw::Utf8)))?
    };
    if items.is_empty() { Err(Refusal::Empty) } else { Ok(items) }
}

/// As `text.split('\n')` does; memchr takes many bytes at once.
fn split_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
    ends.map(move |end| &text[std::mem::replace(&mut start, end + 1)..end])
}

fn lines<'a>(lines: impl Iterator<Item = Result<&'a str, Flaw>>) -> Result<Vec<Item<'a>>, Refusal> {
    let mut items = Vec::new();
    for line in lines {
        if line.as_ref().is_ok_and(|text| text.trim_ascii().is_empty()) {
            continue;
        }
        if items.len() == EVENTS_MAX {
            return Err(Refusal::TooManyEvents);
        }
        items.push(line.and_then(item));
    }
    Ok(items)
}

fn array(text: &str) -> Result<Vec<Item<'_>>, Refusal> {
    if let Ok(items) = elements(text, ItemSeed)? {
        return Ok(items);
    }
    let raw_items = elements(text, RawSeed)?.map_err(|syntax| Flaw::Json(syntax.to_string()))?;
    Ok(raw_items.into_iter().map(|raw| item(raw.get())).collect())
}

/// The elements of a JSON array, read by `seed`. The inner error is JSON's.
fn elements<'de, S>(text: &'de str, seed: S) -> Result<serde_json::Result<Vec<S::Value>>, Refusal>
where
    S: DeserializeSeed<'de> + Copy,
{
    let mut found = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = deserializer.deserialize_seq(Elements { seed, into: &mut found }).and_then(|()| deserializer.end());
    if found.len() > EVENTS_MAX { Err(Refusal::TooManyEvents) } else { Ok(read.map(|()| found)) }
}

/// One event.
fn item(text: &str) -> Item<'_> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = ItemSeed.deserialize(&mut deserializer).and_then(|item| deserializer.end().map(|()| item));
    read.unwrap_or_else(|error| match serde_json::from_str::<IgnoredAny>(text) {
        Err(syntax) => Err(Flaw::Json(syntax.to_string())),
        Ok(_) if text.trim_ascii_start().starts_with('{') => Err(Flaw::Undecodable(error.to_string())),
        Ok(_) => Err(Flaw::NotAnObject),
    })
}

/// Reads array elements into a vector, one more than allowed at most.
struct Elements<'v, S, T> {
    seed: S,
    into: &'v mut Vec<T>,
}

impl<'de, S: DeserializeSeed<'de> + Copy> Visitor<'de> for Elements<'_, S, S::Value> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element_seed(self.seed)? {
            self.into.push(element);
            if self.into.len() > EVENTS_MAX {
                return Err(A::Error::custom("too many events"));
            }
        }
        Ok(())
    }
}

/// Reads any value as the text that it is.
#[derive(Clone, Copy)]
struct RawSeed;

impl<'de> DeserializeSeed<'de> for RawSeed {
    type Value = &'de RawValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        serde::Deserialize::deserialize(deserializer)
    }
}

/// Reads an event, or any other value as [`Flaw::NotAnObject`].
#[derive(Clone, Copy)]
struct ItemSeed;

impl<'de> DeserializeSeed<'de> for ItemSeed {
    type Value = Item<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ItemSeed {
    type Value = Item<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        let mut seen = [false; 5];
        let mut flaw = None;
        while let Some(key) = members.next_key_seed(KeySeed)? {
            let Some(field) = key else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(&mut seen[field as usize], true) {
                flaw = flaw.or(Some(Flaw::Duplicate(field)));
            }
            let text = match field {
                Field::Event => &mut fields.event,
                Field::UserId => &mut fields.user_id,
                Field::EventId => &mut fields.event_id,
                Field::Timestamp => &mut fields.timestamp,
                Field::Metadata => {
                    fields.metadata = members.next_value()?;
                    continue;
                }
            };
            // An unreadable string names its field; whether it was the grammar that broke is found out later.
            match members.next_value_seed(TextSeed).map_err(|error| must_be_a_string(field, &error))? {
                Text::Is(value) => *text = Some(value),
                Text::Null => *text = None,
                Text::Wrong if field == Field::Timestamp => flaw = flaw.or(Some(Flaw::Timestamp)),
                Text::Wrong => flaw = flaw.or(Some(Flaw::NotAString(field))),
            }
        }
        Ok(flaw.map_or(Ok(fields), Err))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Self::Value, A::Error> {
        skip(elements)?;
        Ok(Err(Flaw::NotAnObject))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Err(Flaw::NotAnObject))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Err(Flaw::NotAnObject))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Err(Flaw::NotAnObject))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Err(Flaw::NotAnObject))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Err(Flaw::NotAnObject))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Err(Flaw::NotAnObject))
    }
}

fn must_be_a_string<E: serde::de::Error>(field: Field, error: &E) -> E {
    E::custom(format_args!("{field} must be a string: {error}"))
}

fn skip<'de, A: SeqAccess<'de>>(mut elements: A) -> Result<(), A::Error> {
    while elements.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Reads a key: a field that we know, or none.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Option<Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Option<Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Some(match key {
            "event" => Field::Event,
            "user_id" => Field::UserId,
            "event_id" => Field::EventId,
            "timestamp" => Field::Timestamp,
            "metadata" => Field::Metadata,
            _ => return Ok(None),
        }))
    }
}

/// A value where a string is due.
enum Text<'a> {
    Is(Cow<'a, str>),
    Null,
    Wrong,
}

struct TextSeed;

impl<'de> DeserializeSeed<'de> for TextSeed {
    type Value = Text<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextSeed {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Text::Is(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Text::Is(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Text::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text::Wrong)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Self::Value, A::Error> {
        skip(elements)?;
        Ok(Text::Wrong)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Text::Wrong)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Text::Wrong)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Text::Wrong)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Text::Wrong)
    }
}

#[cfg(test)]
mod tests;
