//! What happened, as a number that two runs of one seed must share, and as text for people who look into one.
use crate::random::mix;

pub struct Trace {
    hash: u64,
    print: bool,
}

impl Trace {
    pub fn new(print: bool) -> Self {
        Trace { hash: 0, print }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Notes something by its numbers; the text is only made if it is printed.
    pub fn note(&mut self, now: u64, numbers: &[u64], text: impl FnOnce() -> String) {
        for number in [now].iter().chain(numbers) {
            self.hash = mix(self.hash.rotate_left(5) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        if self.print {
            let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
            println!("{seconds:>3}.{micros:06} {}", text());
        }
    }
}
