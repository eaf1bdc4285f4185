//! A Kafka broker of its own for a measure: prints its address, and ends with its input.

use std::io::Read as _;
use track_harness::broker::Broker;

fn main() -> anyhow::Result<()> {
    let broker = Broker::start()?;
    println!("{}", broker.bootstrap());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
