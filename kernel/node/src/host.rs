//! What the machine says: its clock, and which boot this is.
use std::{fs, time::Instant};

/// Milliseconds of Unix time, of the machine's clock.
pub fn unix_millis() -> u64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Differs with each boot.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The lowest `oom_score_adj` that this process may give to what it starts: its own, unless it has the right to lower it.
pub fn oom_floor() -> i32 {
    /// CAP_SYS_RESOURCE
    const RIGHT: u64 = 1 << 24;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let rights = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let rights = rights
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    if rights & RIGHT != 0 {
        return -1000;
    }
    fs::read_to_string("/proc/self/oom_score_adj")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

/// Unix time that goes on evenly from when it was made, whatever is done to the machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    begun: Instant,
    at: u64,
}

impl Clock {
    pub fn new() -> Self {
        Clock {
            begun: Instant::now(),
            at: unix_millis(),
        }
    }

    /// Milliseconds.
    pub fn now(&self) -> u64 {
        self.at + u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(0)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_and_boots() {
        assert!(!boot_id().is_empty());
        assert!((-1000..=1000).contains(&oom_floor()));
        assert!(Clock::new().now() >= unix_millis() - 5);
    }
}
