//! Times as Kubernetes writes them. Nothing here reads the clock: times are given.
use serde::{Deserialize, Serialize};

/// A moment in UTC, to the second in JSON: `2026-03-01T12:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// From milliseconds of Unix time; what lies outside of the years 1 to 9999 becomes the epoch.
    pub fn from_millis(millis: u64) -> Self {
        let time = i64::try_from(millis)
            .ok()
            .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        Timestamp(time.unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }

    /// Milliseconds of Unix time; 0 for what is before.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millisecond()).unwrap_or(0)
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0}", self.0)
    }
}

impl std::str::FromStr for Timestamp {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Timestamp)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse()
            .map_err(|_| serde::de::Error::custom("expected a time as in \"2026-03-01T12:00:00Z\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_the_second_and_back() {
        let time = Timestamp::from_millis(1_772_366_400_123);
        assert_eq!(time.to_string(), "2026-03-01T12:00:00Z");
        assert_eq!(
            time.to_string().parse::<Timestamp>().unwrap().as_millis(),
            1_772_366_400_000
        );
    }
}
