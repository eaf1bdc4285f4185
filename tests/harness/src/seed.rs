//! Chance that can be repeated.

use fastrand::Rng;

/// A generator whose seed is printed where the test fails: `TRACK_SEED`, where that is set.
///
/// # Panics
/// Where it is set to what is no number.
#[must_use]
#[allow(clippy::expect_used, reason = "a mistake in the environment of the tests")]
pub fn rng(scenario: &str) -> Rng {
    let seed = std::env::var("TRACK_SEED");
    let seed = seed.map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("TRACK_SEED is a number"));
    println!("{scenario}: TRACK_SEED={seed}");
    Rng::with_seed(seed)
}
