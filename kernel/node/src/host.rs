//! What the machine says: its clock, and which boot this is.
use std::{fs, time::Instant};

/// Milliseconds of Unix time, of the machine's clock.
pub fn unix_millis() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Differs with each boot.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Unix time that goes on evenly from when it was made, whatever is done to the machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    begun: Instant,
    at: u64,
}

impl Clock {
    pub fn new() -> Self {
        Clock { begun: Instant::now(), at: unix_millis() }
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
        assert!(Clock::new().now() >= unix_millis() - 5);
    }
}
