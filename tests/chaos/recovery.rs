//! Whether everything is answered again: what had a position when nothing was the matter any more, at each query service.

use crate::asking::all_days;
use crate::door::Door;
use crate::history::History;
use std::sync::Arc;
use std::time::{Duration, Instant};
use track_harness::answers;
use track_harness::http::Request;
use track_oracle::Query;

/// From the last remedy to the last answer. Processes start, groups wait for who is gone, and states may have to be folded from
/// the log, on a busy machine.
const RECOVERED_WITHIN: Duration = Duration::from_secs(90);
const ASKED_WITHIN: Duration = Duration::from_secs(10);

pub struct Recovery<'a> {
    history: &'a History,
    queries: &'a [Arc<Door>],
    target: String,
    /// Those that have not answered yet.
    left: Vec<&'a Arc<Door>>,
}

impl<'a> Recovery<'a> {
    pub fn new(history: &'a History, queries: &'a [Arc<Door>]) -> Self {
        Self { history, queries, target: String::new(), left: Vec::new() }
    }

    /// From now on what has a position must be answered.
    pub fn begin(&mut self) {
        let [first, last] = all_days();
        self.target = answers::target("/metrics", &Query::days(first, last), &self.history.now().positions());
        self.left = self.queries.iter().collect();
    }

    /// Asks those that have not answered.
    pub fn is_complete(&mut self) -> bool {
        let request = Request::get(&self.target);
        self.left.retain(|door| {
            let address = door.look().address;
            let answer = address.map(|address| request.send_within(address, ASKED_WITHIN));
            !matches!(answer, Some(Ok(answer)) if answer.status == 200)
        });
        self.left.is_empty()
    }

    /// For so long each query service must answer whatever it is asked, if not with what is new. How often they did.
    pub fn check_answered(&self, for_so_long: Duration) -> usize {
        let [first, last] = all_days();
        let request = Request::get(answers::target("/metrics", &Query::days(first, last), ""));
        let (began, mut asked) = (Instant::now(), 0);
        while began.elapsed() < for_so_long {
            for door in self.queries {
                let answer = request.send_within(door.look().address.unwrap(), ASKED_WITHIN).unwrap();
                assert_eq!(answer.status, 200, "after {:?} without Kafka: {answer}", began.elapsed());
                asked += 1;
            }
        }
        asked
    }

    pub fn check_time(&self, since: Instant) {
        let took = since.elapsed();
        assert!(took < RECOVERED_WITHIN, "nothing has happened for {took:?}, and not everything is answered");
    }
}
