//! The requests and the answers that every track must give, on the embedded log and on Kafka alike.

mod batch;
mod crowds;
mod hostile;
mod methods;
mod metrics;
mod once;
mod sessions;
mod time_zones;
mod track;

pub use track::gzip;

use crate::case::{Case, run_all};
use crate::site::Site;

/// Runs the whole table, then counts what every 200 must have left behind.
pub fn check(site: &Site) {
    let subjects = [
        ("track", track::cases()),
        ("batch", batch::cases()),
        ("metrics", metrics::cases()),
        ("sessions", sessions::cases()),
        ("time zones", time_zones::cases()),
        ("once", once::cases()),
        ("methods", methods::cases()),
        ("hostile", hostile::cases()),
        ("crowds", crowds::cases()),
    ];
    let cases = subjects.into_iter().flat_map(|(subject, cases)| {
        cases.into_iter().map(move |case| Case { name: format!("{subject}: {}", case.name), ..case })
    });
    let cases: Vec<_> = cases.collect();
    let count = cases.len();
    let failed = run_all(site, cases);
    assert!(failed.is_empty(), "{} of {count} cases failed:\n\n{}", failed.len(), failed.join("\n\n"));
    site.check_tally();
}
