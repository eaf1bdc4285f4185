use super::*;
use proptest::prelude::*;

fn flaw(body: &[u8]) -> String {
    one(body).unwrap_err().to_string()
}

#[test]
fn strings_without_escapes_are_borrowed() {
    let fields = one(br#"{"event":"play","user_id":"\u0061b","metadata":{"a":1}}"#).unwrap();
    assert!(matches!(fields.event, Some(Cow::Borrowed("play"))));
    assert_eq!(fields.user_id.as_deref(), Some("ab"));
    assert_eq!(fields.metadata.unwrap().get(), r#"{"a":1}"#);
    assert_eq!(fields.timestamp, None);
}

#[test]
fn a_key_may_be_escaped_too() {
    assert_eq!(one(br#"{"\u0065vent":"play"}"#).unwrap().event.as_deref(), Some("play"));
    assert_eq!(flaw(br#"{"\u0065vent":"play","event":"play"}"#), "event appears more than once");
}

#[test]
fn unknown_fields_may_hold_anything() {
    let nested = [&b"{\"x\":"[..], &[b'['; 100_000], &[b']'; 100_000], b",\"event\":\"play\",\"x\":1e9999}"].concat();
    assert_eq!(one(&nested).unwrap().event.as_deref(), Some("play"));
    let lone = br#"{"x":"\ud800","event":"play"}"#;
    assert_eq!(one(lone).unwrap().event.as_deref(), Some("play"));
}

#[test]
fn depth_never_overflows_the_stack() {
    let deep = |before: &str, after: &str| {
        [before.as_bytes(), &b"[{\"a\":".repeat(100_000), b"1", &b"}]".repeat(100_000), after.as_bytes()].concat()
    };
    assert!(one(&deep("{\"metadata\":", "}")).unwrap().metadata.is_some());
    assert_eq!(flaw(&deep("{\"event\":", "}")), "event must be a string");
    assert_eq!(flaw(&deep("", "")), "an event must be a JSON object");
    assert!(flaw(&[b'['; 100_000]).starts_with("invalid JSON: "));
    assert!(flaw(&b"{\"a\":".repeat(100_000)).starts_with("invalid JSON: "));
    assert_eq!(batch(&deep("[", "]")).unwrap()[0].as_ref().unwrap_err(), &Flaw::NotAnObject);
    assert!(batch(&[b'['; 100_000]).is_err());
}

#[test]
fn a_value_that_nothing_can_hold_names_its_field() {
    for (body, start) in [
        (&br#"{"event":1e999}"#[..], "event must be a string: "),
        (br#"{"event":"\ud800"}"#, "event must be a string: "),
        (br#"{"user_id":"\udc00\ud800"}"#, "user_id must be a string: "),
        (br#"1e999"#, "an event must be a JSON object"),
        (br#"{"event":"pla"#, "invalid JSON: EOF"),
        (br#"{"event":"\x"}"#, "invalid JSON: invalid escape"),
    ] {
        assert!(flaw(body).starts_with(start), "{}", flaw(body));
    }
}

#[test]
fn an_undecodable_item_does_not_sink_an_array() {
    let items = batch(br#"[{"event":"a"}, 1e999, {"event":"\ud800"}, {"event":"b"}]"#).unwrap();
    assert_eq!(items[0].as_ref().unwrap().event.as_deref(), Some("a"));
    assert_eq!(items[1].as_ref().unwrap_err(), &Flaw::NotAnObject);
    assert!(matches!(items[2].as_ref().unwrap_err(), Flaw::Undecodable(_)));
    assert_eq!(items[3].as_ref().unwrap().event.as_deref(), Some("b"));
}

#[test]
fn a_broken_array_is_broken_whole() {
    for broken in ["[", "[{}", "[{},]", "[{}{}]", "[{}] x", "[{\"a\"}]", "[{}]\n[{}]"] {
        assert!(matches!(batch(broken.as_bytes()), Err(Refusal::Flaw(Flaw::Json(_)))), "{broken}");
    }
    assert!(matches!(batch(b"[\"\xff\"]"), Err(Refusal::Flaw(Flaw::Utf8))));
}

#[test]
fn lines_are_items_and_blank_ones_are_not() {
    let items = batch(b"\xef\xbb\xbf\r\n{\"event\":\"a\"}\r\n\n  \t\n{\"event\":\n{\"event\":\"b\"}").unwrap();
    assert_eq!(items.len(), 3);
    assert_eq!(items[0].as_ref().unwrap().event.as_deref(), Some("a"));
    assert!(matches!(items[1], Err(Flaw::Json(_))));
    assert_eq!(items[2].as_ref().unwrap().event.as_deref(), Some("b"));
}

#[test]
fn a_line_that_is_not_utf8_sinks_alone() {
    let items = batch(b"{\"event\":\"a\"}\n{\"event\":\"\xff\"}\n{\"event\":\"b\"}\n").unwrap();
    assert_eq!(items[1].as_ref().unwrap_err(), &Flaw::Utf8);
    assert_eq!(items.iter().filter(|item| item.is_ok()).count(), 2);
}

#[test]
fn the_number_of_events_is_capped() {
    let array = |events: usize| format!("[{}]", vec!["{}"; events].join(","));
    let lines = |events: usize| vec!["{}"; events].join("\n");
    for good in [array(EVENTS_MAX), lines(EVENTS_MAX)] {
        assert_eq!(batch(good.as_bytes()).unwrap().len(), EVENTS_MAX);
    }
    for many in [array(EVENTS_MAX + 1), lines(EVENTS_MAX + 1), format!("[{}", "1e999,".repeat(EVENTS_MAX + 1))] {
        assert!(matches!(batch(many.as_bytes()), Err(Refusal::TooManyEvents)));
    }
}

#[test]
fn nothing_is_not_a_batch() {
    for nothing in ["", " \r\n ", "[]", " [ ] ", "\u{feff}"] {
        assert!(matches!(batch(nothing.as_bytes()), Err(Refusal::Empty)), "{nothing:?}");
    }
}

/// Texts near to events: the pieces of one, in any order and number.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\n",
        " ",
        "null",
        "1e999",
        "-0",
        "\"event\"",
        "\"user_id\"",
        "\"metadata\"",
        "\"timestamp\"",
        "\"event_id\"",
        "\"\\ud800\"",
        "\"a\"",
        "{\"event\":\"a\",\"user_id\":\"b\"}",
        "\"",
        "\\",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

/// JSON by its grammar, good as an event or not.
fn json_value() -> impl Strategy<Value = String> {
    let value = || {
        prop::sample::select(vec!["null", "1e999", "-0", "\"a\"", "\"\\u0061\"", "\"\\ud800\"", "[{}]", "{\"a\":1}"])
    };
    let key =
        prop::sample::select(vec!["event", "user_id", "\\u0065vent_id", "timestamp", "metadata", "other", "\\ud800"]);
    let member = (key, value()).prop_map(|(key, value)| format!("\"{key}\": {value}"));
    let object = prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(",")));
    prop_oneof![1 => value().prop_map(str::to_owned), 4 => object]
}

proptest! {
    #[test]
    fn one_agrees_with_serde_on_what_is_json(body in nearly_json()) {
        let is_json = serde_json::from_slice::<IgnoredAny>(&body).is_ok();
        match one(&body) {
            Ok(_) => prop_assert!(is_json),
            Err(Refusal::Flaw(Flaw::Json(_))) => prop_assert!(!is_json),
            Err(Refusal::Flaw(_)) => prop_assert!(is_json),
            Err(Refusal::Empty) => prop_assert!(body.trim_ascii().is_empty()),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn an_array_gives_what_its_lines_give(values in prop::collection::vec(json_value(), 1..6)) {
        // A first line that opens an array would be taken for one.
        let lines = format!("{{}}\n{}", values.join("\n"));
        let array = format!("[{{}},{}]", values.join(" ,\n"));
        let shown = |text: &str| format!("{:?}", batch(text.as_bytes()).unwrap());
        prop_assert_eq!(shown(&array), shown(&lines));
    }

    #[test]
    fn arbitrary_bytes_never_panic(body: Vec<u8>, near in nearly_json()) {
        let _ = (one(&body), batch(&body), batch(&near));
    }
}
