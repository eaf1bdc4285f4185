//! `/openapi.json` is true: what it describes is sent, and what is answered is as it describes.

use crate::site::{check_form, encoded};
use crate::standalone;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use track_harness::http::{Answer, Request};

struct Description {
    document: Value,
    server: SocketAddr,
}

impl Description {
    /// What a `$ref` points to, or the value itself.
    fn resolved<'v>(&'v self, value: &'v Value) -> &'v Value {
        match value["$ref"].as_str() {
            Some(reference) => self.document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => value,
        }
    }

    fn check_schema(&self, schema: &Value, instance: &Value, what: &str) {
        let mut whole = schema.clone();
        whole["components"] = self.document["components"].clone();
        let validator = jsonschema::validator_for(&whole).unwrap_or_else(|error| panic!("{what}: {error}"));
        let errors: Vec<String> = validator.iter_errors(instance).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{what}: {errors:?} in {instance}");
    }

    /// Sends a request to an operation, and holds the answer against what is described for its status.
    fn send(&self, operation: &Value, request: &Request, status: u16) -> Answer {
        let answer = request.send(self.server).unwrap();
        check_form(request, &answer);
        let what = format!("{} {}: {answer}", request.method, &request.target[..request.target.len().min(300)]);
        assert_eq!(answer.status, status, "{what}");
        let described = &operation["responses"][status.to_string()];
        assert!(described.is_object(), "not described, {what}");
        let described = self.resolved(described);
        let content = described["content"].as_object().unwrap();
        let kind = answer.header("content-type").unwrap().split(';').next().unwrap();
        let schema = &content.get(kind).unwrap_or_else(|| panic!("{kind} is not described, {what}"))["schema"];
        let body = if kind == "application/json" {
            answer.json().unwrap()
        } else {
            Value::String(String::from_utf8(answer.body.clone()).unwrap())
        };
        self.check_schema(schema, &body, &what);
        for (name, header) in described["headers"].as_object().into_iter().flatten() {
            let value = answer.header(&name.to_ascii_lowercase()).unwrap_or_else(|| panic!("no {name}, {what}"));
            let schema = &self.resolved(header)["schema"];
            // A header is text, of a number too.
            let value = if schema["type"] == "integer" { json!(value.parse::<i64>().unwrap()) } else { json!(value) };
            self.check_schema(schema, &value, &format!("{name}, {what}"));
        }
        answer
    }

    /// The parameters of an operation that stand in the query, with the values that the document gives for them.
    fn parameters<'v>(&'v self, operation: &'v Value) -> Vec<(&'v str, bool, Vec<Value>)> {
        let parameters = operation["parameters"].as_array().into_iter().flatten().map(|one| self.resolved(one));
        parameters
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| {
                let mut values: Vec<Value> = parameter["schema"]["enum"].as_array().cloned().unwrap_or_default();
                values.extend(parameter.get("example").cloned());
                (parameter["name"].as_str().unwrap(), parameter["required"] == true, values)
            })
            .collect()
    }
}

/// `name=value`, or several where the value is a list.
fn pairs(name: &str, value: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    values.iter().map(|value| format!("&{name}={}", encoded(&text(value)))).collect()
}

#[test]
fn what_is_described_is_what_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let track = standalone(dir.path()).ready().unwrap();
    let document = Request::get("/openapi.json").send(track.public()).unwrap().json().unwrap();
    let description = Description { document: document.clone(), server: track.public() };
    let paths = document["paths"].as_object().unwrap();
    let known: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    assert_eq!(known, ["/docs", "/metrics", "/openapi.json", "/sessions", "/track", "/track/batch"].into());
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            match method.as_str() {
                "post" => check_post(&description, path, operation),
                "get" => check_get(&description, path, operation),
                other => panic!("{other} {path}"),
            }
            description.send(operation, &Request::new("DELETE", path), 405);
            check_examples(&description, operation);
        }
    }
    track.terminate().unwrap();
}

fn check_post(description: &Description, path: &str, operation: &Value) {
    let content = operation["requestBody"]["content"].as_object().unwrap();
    for (kind, body) in content {
        let examples = body["examples"].as_object().unwrap();
        assert!(!examples.is_empty(), "{path}, {kind}");
        for example in examples.values() {
            let value = &example["value"];
            description.check_schema(&body["schema"], value, path);
            let bytes =
                value.as_str().filter(|_| kind != "application/json").map_or_else(|| value.to_string(), str::to_owned);
            description.send(operation, &Request::post(path, bytes.clone()).header("content-type", kind), 200);
            for coding in ["gzip", "identity"] {
                let packed =
                    if coding == "gzip" { crate::table::gzip(bytes.as_bytes()) } else { bytes.clone().into_bytes() };
                description.send(operation, &Request::post(path, packed).header("content-encoding", coding), 200);
            }
        }
    }
    for bad in ["", "{}", "[]", "7", "[{},7]", "nonsense", "{\"event\":\"date\",\"user_id\":\"u\"}"] {
        description.send(operation, &Request::post(path, bad), 400);
    }
    let warned = json!({"event": "play", "user_id": "u", "timestamp": "2999-01-01T00:00:00Z"});
    description.send(operation, &Request::post_json(path, &warned), 200);
    description.send(operation, &Request::post(path, vec![b' '; (16 << 20) + 1]), 413);
    description.send(operation, &Request::post(path, "{}").header("content-encoding", "br"), 415);
}

fn check_get(description: &Description, path: &str, operation: &Value) {
    let parameters = description.parameters(operation);
    let required: Vec<_> = parameters.iter().filter(|(_, required, _)| *required).collect();
    let base: String = required.iter().map(|(name, _, values)| pairs(name, &values[0])).collect();
    description.send(operation, &Request::get(format!("{path}?{base}")), 200);
    let mut everything = base.clone();
    for (name, _, values) in parameters.iter().filter(|(_, required, _)| !required) {
        for value in values {
            description.send(operation, &Request::get(format!("{path}?{base}{}", pairs(name, value))), 200);
        }
        everything.extend(values.last().map(|value| pairs(name, value)));
    }
    description.send(operation, &Request::get(format!("{path}?{everything}")), 200);

    for (name, ..) in &required {
        let without: String = required
            .iter()
            .filter(|(other, ..)| other != name)
            .map(|(name, _, values)| pairs(name, &values[0]))
            .collect();
        description.send(operation, &Request::get(format!("{path}?{without}")), 400);
        description.send(operation, &Request::get(format!("{path}?{without}&{name}=nonsense")), 400);
    }
    for bad in ["group_by", "timezone", "week_start", "min_position", "allow_partial"] {
        if parameters.iter().any(|(name, ..)| *name == bad) {
            description.send(operation, &Request::get(format!("{path}?{base}&{bad}=nonsense")), 400);
        }
    }
    if parameters.iter().any(|(name, ..)| *name == "min_position") {
        // Nothing will ever be there.
        let far = "&min_position=0:999999999999";
        description.send(operation, &Request::get(format!("{path}?{base}{far}")), 503);
        description.send(operation, &Request::get(format!("{path}?{base}{far}&allow_partial=true")), 200);
    }
}

/// The answers that the document shows are such as it describes.
fn check_examples(description: &Description, operation: &Value) {
    for (status, response) in operation["responses"].as_object().unwrap() {
        let content = description.resolved(response)["content"].as_object().unwrap();
        for body in content.values() {
            for (name, example) in body["examples"].as_object().into_iter().flatten() {
                description.check_schema(&body["schema"], &example["value"], &format!("{status} {name}"));
            }
        }
    }
}
