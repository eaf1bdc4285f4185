//! One line of the table: what is sent, what must be answered, and what must be counted for it.

use crate::site::{Site, new_user};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use track_harness::http::Request;

/// How many cases run at once.
const THREADS: usize = 8;

/// Something that must hold of any track.
pub struct Case {
    pub name: String,
    pub run: Box<dyn FnOnce(&Site) + Send>,
}

/// A case of more than one request.
pub fn case(name: impl Into<String>, run: impl FnOnce(&Site) + Send + 'static) -> Case {
    Case { name: name.into(), run: Box::new(run) }
}

/// Runs them, a few at a time, and returns what failed.
pub fn run_all(site: &Site, cases: Vec<Case>) -> Vec<String> {
    let queue = Mutex::new(cases.into_iter());
    let failed = Mutex::new(Vec::new());
    let next = || queue.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(Case { name, run }) = next() {
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(site))) {
                        let message = panic.downcast_ref::<String>().map(String::as_str);
                        let message = message.or(panic.downcast_ref::<&str>().copied()).unwrap_or("panicked");
                        failed.lock().unwrap().push(format!("{name}: {message}"));
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

/// What the body of an answer must be.
enum Body {
    Exactly(Value),
    /// An error with this message.
    Error(&'static str),
    /// An error whose message has this in it.
    ErrorAbout(&'static str),
    /// A success with these warnings or more in all, each with this in it.
    WarnedAbout(&'static str),
    /// A batch's success with so many accepted.
    Accepted(u64),
    Any,
}

/// A case of one request.
pub struct Row {
    name: String,
    pub user: String,
    request: Request,
    status: u16,
    body: Body,
    headers: Vec<(&'static str, &'static str)>,
    counted: Vec<(String, u64)>,
}

/// A request, of a user that is this row's own.
pub fn row(name: impl Into<String>, request: impl FnOnce(&str) -> Request) -> Row {
    let user = new_user();
    let request = request(&user);
    Row { name: name.into(), user, request, status: 200, body: Body::Any, headers: Vec::new(), counted: Vec::new() }
}

impl Row {
    /// With one more request header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Must be answered 200 with exactly this.
    pub fn answers(mut self, body: Value) -> Self {
        self.body = Body::Exactly(body);
        self
    }

    /// Must be answered as an event that was taken as it is, and counted once under this name.
    pub fn logged_as(self, event: &str) -> Self {
        self.answers(json!({"status": "success", "message": "Event logged."})).counted(event, 1)
    }

    /// Must be taken as a `play`.
    pub fn logged(self) -> Self {
        self.logged_as("play")
    }

    /// Must be taken with exactly one warning, that has this in it, and counted once as a `play`.
    pub fn logged_warning(mut self, about: &'static str) -> Self {
        self.body = Body::WarnedAbout(about);
        self.counted("play", 1)
    }

    /// Must be refused with exactly this message.
    pub fn refused(mut self, status: u16, message: &'static str) -> Self {
        self.status = status;
        self.body = Body::Error(message);
        self
    }

    /// Must be refused with a message that has this in it.
    pub fn refused_about(mut self, status: u16, about: &'static str) -> Self {
        self.status = status;
        self.body = Body::ErrorAbout(about);
        self
    }

    /// Must be answered as a batch of which the first item was taken.
    pub fn partly_logged(mut self) -> Self {
        self.body = Body::Accepted(1);
        self.counted("play", 1)
    }

    /// Must have this response header.
    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// So many events of this name and the row's user must be counted for it.
    pub fn counted(mut self, event: &str, count: u64) -> Self {
        self.counted.push((event.to_owned(), count));
        self
    }

    fn run(self, site: &Site) {
        site.watch(&self.user);
        let answer = site.send(&self.request);
        assert_eq!(answer.status, self.status, "{answer}");
        if self.request.method != "HEAD" && self.request.method != "OPTIONS" {
            let is_page = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
            assert!(is_page || answer.header("content-type") == Some("application/json"), "{answer:?}");
        }
        for (event, count) in &self.counted {
            site.expect(&self.user, event, *count);
        }
        match self.body {
            Body::Exactly(expected) => assert_eq!(answer.json().unwrap(), expected),
            Body::Error(message) => assert_eq!(answer.json().unwrap(), json!({"status": "error", "message": message})),
            Body::ErrorAbout(about) => {
                let body = answer.json().unwrap();
                assert!(body["message"].as_str().is_some_and(|message| message.contains(about)), "{about}: {body}");
            }
            Body::WarnedAbout(about) => {
                let body = answer.json().unwrap();
                let warnings = body["warnings"].as_array().unwrap_or_else(|| panic!("no warnings: {body}"));
                assert_eq!(warnings.len(), 1, "{body}");
                assert!(warnings[0].as_str().is_some_and(|warning| warning.contains(about)), "{about}: {body}");
                assert_eq!((&body["status"], &body["message"]), (&json!("success"), &json!("Event logged.")));
            }
            Body::Accepted(count) => assert_eq!(answer.json().unwrap()["accepted"], count),
            Body::Any => {}
        }
        for (name, value) in &self.headers {
            assert_eq!(answer.header(name), Some(*value), "{name}, {answer:?}");
        }
    }
}

impl From<Row> for Case {
    fn from(row: Row) -> Self {
        case(row.name.clone(), move |site| row.run(site))
    }
}
