//! The API's description is whole and agrees with itself. That it agrees with the server is tested where one runs.

use crate::tree;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

fn document() -> Value {
    serde_json::from_str(&tree::read("src/openapi/openapi.json")).unwrap()
}

/// What a reference points to; anything else is itself.
fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            let found = document.pointer(reference.trim_start_matches('#'));
            resolved(document, found.unwrap_or_else(|| panic!("{reference} points nowhere")))
        }
        None => value,
    }
}

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    });
    operations.collect()
}

/// Calls `visit` with every object in it and the way there.
fn walk(value: &Value, at: &str, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            visit(at, object);
            for (key, inner) in object {
                walk(inner, &format!("{at}/{key}"), visit);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                walk(inner, &format!("{at}/{index}"), visit);
            }
        }
        _ => {}
    }
}

#[test]
fn it_is_openapi_3_1_of_this_version() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_route_and_every_answer_is_there() {
    let document = document();
    let found: BTreeSet<_> = operations(&document)
        .into_iter()
        .map(|(route, operation)| {
            let statuses = operation["responses"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            format!("{route}: {}", statuses.join(" "))
        })
        .collect();
    let expected = [
        "GET /docs: 200 405",
        "GET /metrics: 200 400 405 503",
        "GET /openapi.json: 200 405",
        "GET /sessions: 200 400 405 503",
        "POST /track/batch: 200 400 405 408 413 415 429 503",
        "POST /track: 200 400 405 408 413 415 429 503",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
}

#[test]
fn whoever_may_come_back_is_told_when() {
    let document = document();
    for (route, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = resolved(&document, response);
            let has = |header: &str| response["headers"].get(header).is_some();
            assert_eq!(has("Retry-After"), ["429", "503"].contains(&&**status), "{route}: {status}");
            assert_eq!(has("Track-Position"), route.starts_with("POST") && status == "200", "{route}: {status}");
            assert_eq!(has("Allow"), status == "405", "{route}: {status}");
        }
    }
}

#[test]
fn every_reference_points_somewhere_and_nothing_is_left_over() {
    let document = document();
    let mut used = BTreeSet::new();
    walk(&document, "", &mut |_, object| {
        if let Some(Value::String(reference)) = object.get("$ref") {
            resolved(&document, &json!({ "$ref": reference }));
            used.insert(reference.clone());
        }
    });
    for (kind, components) in document["components"].as_object().unwrap() {
        for name in components.as_object().unwrap().keys() {
            // A path that does not exist has no operation to stand under.
            let known = used.contains(&format!("#/components/{kind}/{name}")) || name == "NotFound";
            assert!(known, "nothing uses {kind}/{name}");
        }
    }
}

#[test]
fn examples_are_what_their_schemas_say() {
    let document = document();
    let mut checked = 0;
    let mut check = |at: &str, schema: &Value, example: &Value| {
        // With the components beside it, so that its references lead somewhere.
        let mut whole = json!({ "components": document["components"], "allOf": [schema] });
        whole["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        let validator = jsonschema::options().should_validate_formats(true).build(&whole).unwrap();
        if let Some(error) = validator.iter_errors(example).next() {
            panic!("{at}: {error}\n{example}");
        }
        checked += 1;
    };
    walk(&document, "", &mut |at, object| {
        let Some(schema) = object.get("schema") else { return };
        if let Some(example) = object.get("example") {
            check(at, schema, example);
        }
        for (name, example) in object.get("examples").and_then(Value::as_object).into_iter().flatten() {
            check(&format!("{at}/{name}"), schema, &example["value"]);
        }
    });
    assert!(checked > 20, "{checked} examples found");
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let page = tree::read("src/openapi/docs.html");
    for loading in ["src=", "@import", "url(", "import(", "http://", "https://", "//cdn"] {
        assert!(!page.contains(loading), "docs.html has {loading}");
    }
    assert!(page.contains("fetch(\"openapi.json\")"));
}
