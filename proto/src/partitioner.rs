//! From a record's key to its partition, as Java's Kafka clients choose it, so that any producer and any query agree.
//!
//! Source of the rule: `org.apache.kafka.clients.producer.internals.BuiltInPartitioner` (murmur2, seed 0x9747b28c,
//! sign bit cleared, modulo the partition count); librdkafka calls it `murmur2_random`.

/// The partition of `key` among `partition_count` partitions.
///
/// # Panics
/// If `partition_count` is 0: a log has at least one partition.
#[must_use]
pub fn partition_for(key: &[u8], partition_count: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partition_count
}

/// Java's 32-bit murmur2 of `data`.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // Java's array lengths are 32-bit; a key is at most 256 bytes here.
    #[allow(clippy::cast_possible_truncation)]
    let mut h = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_agrees_with_java() {
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn a_partition_is_within_the_count() {
        for count in [1, 2, 12, 96] {
            for user in 0..1_000 {
                assert!(partition_for(format!("user-{user}").as_bytes(), count) < count);
            }
        }
    }
}
