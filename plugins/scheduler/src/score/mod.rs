//! Kubernetes' scores.
mod images;
mod room;
mod spread;

pub use images::images;
pub use room::Scores;
pub use spread::{ln, spread_norm};

/// The best that a scorer says of a node.
pub const BEST: i64 = 100;

/// A score among scores from 0 to the highest: `100 * raw / highest`.
pub fn upwards(raw: i64, highest: i64) -> i64 {
    if highest == 0 { 0 } else { BEST * raw / highest }
}

/// The same for what is better the less there is of it.
pub fn downwards(raw: i64, highest: i64) -> i64 {
    if highest == 0 {
        BEST
    } else {
        BEST - BEST * raw / highest
    }
}

/// A score between the lowest and the highest, as floating-point arithmetic rounds it down.
pub fn between(raw: i64, lowest: i64, highest: i64) -> i64 {
    match highest - lowest {
        0 => 0,
        range => (BEST as f64 * ((raw - lowest) as f64 / range as f64)) as i64,
    }
}
