//! How long certificates live, and when they are renewed. All of it is here.
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The authority's own. It is not renewed.
pub const AUTHORITY: Duration = DAY.saturating_mul(3650);

/// A certificate is good from so long before its issue: clocks that are an hour apart must break neither a join nor a
/// renewal. So it was issued that much after its `notBefore`.
pub const BACKDATED: Duration = Duration::from_secs(24 * 60 * 60);

/// An operator is warned when the context's certificate has no more than this left.
pub const WARN: Duration = DAY.saturating_mul(30);

/// So often the wall clock is asked whether it is time, though it should not be yet: a machine may have slept, and a clock
/// may have been set.
pub const CHECK: Duration = Duration::from_secs(10 * 60);

/// After a renewal that failed: doubled each time, with a random part, up to [`CHECK`].
pub const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How long certificates live, from their issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    pub server: Duration,
    pub node: Duration,
    /// Of people and programs: their contexts.
    pub client: Duration,
}

impl Default for Lifetimes {
    /// Servers and nodes 90 days, since they renew by themselves; a context a year, since a person has to.
    fn default() -> Self {
        Lifetimes {
            server: DAY * 90,
            node: DAY * 90,
            client: DAY * 365,
        }
    }
}

/// When a certificate that lives so long is renewed, counted from its issue: after two thirds of its life, and up to a tenth
/// of it later, as `chance` (0 to 1) has it, so that those that were issued together are not renewed together.
pub fn renewed_after(life: Duration, chance: f64) -> Duration {
    life * 2 / 3 + life.mul_f64(chance.clamp(0.0, 1.0) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_time_left_to_renew() {
        let life = Lifetimes::default().node;
        assert_eq!(renewed_after(life, 0.0), DAY * 60);
        assert_eq!(renewed_after(life, 1.0), DAY * 69);
        assert_eq!(renewed_after(life, 7.0), DAY * 69, "no chance is above one");
        assert_eq!(renewed_after(Duration::ZERO, 0.5), Duration::ZERO);
    }
}
