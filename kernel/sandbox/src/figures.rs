//! What is counted of a plugin instance.
use std::time::Duration;

/// Buckets of latency: four to each doubling of microseconds, so a percentile is right to a quarter.
const BUCKETS: usize = 128;

/// Counts of an instance since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub calls: u64,
    pub traps: u64,
    /// Linear memory now.
    pub memory_bytes: u64,
    pub p50_micros: u64,
    pub p99_micros: u64,
}

/// A histogram of how long calls took.
#[derive(Clone, Debug)]
pub struct Latencies {
    counts: [u64; BUCKETS],
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies {
            counts: [0; BUCKETS],
            total: 0,
        }
    }
}

impl Latencies {
    pub fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)] += 1;
        self.total += 1;
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// The microseconds that a share of the calls (in thousandths) did not exceed.
    pub fn percentile(&self, thousandths: u64) -> u64 {
        let wanted = (self.total * thousandths).div_ceil(1000);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return upper(bucket);
            }
        }
        0
    }
}

fn bucket(micros: u64) -> usize {
    if micros < 4 {
        return usize::try_from(micros).unwrap_or(0);
    }
    let doubling = 63 - micros.leading_zeros() as usize;
    let quarter = usize::try_from(micros >> (doubling - 2)).unwrap_or(0) & 3;
    (4 * (doubling - 1) + quarter).min(BUCKETS - 1)
}

/// The largest value that falls into a bucket.
fn upper(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64;
    }
    let (doubling, quarter) = (bucket / 4 + 1, bucket as u64 % 4);
    ((4 + quarter + 1) << (doubling - 2)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_quarter() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|micros| latencies.record(Duration::from_micros(micros)));
        for (thousandths, exact) in [(500, 500), (990, 990), (1000, 1000)] {
            let found = latencies.percentile(thousandths);
            assert!(found >= exact && found <= exact * 5 / 4, "{thousandths}: {found}");
        }
        assert_eq!(Latencies::default().percentile(990), 0);
        for micros in 0..100_000 {
            assert!(upper(bucket(micros)) >= micros);
        }
    }
}
