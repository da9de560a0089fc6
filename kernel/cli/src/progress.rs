//! Progress on stderr, drawn only where a person is looking.
use crate::terminal;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A bar of bytes, invisible where nobody looks. `total` 0 is not known yet.
pub fn bytes(what: &str, total: u64) -> ProgressBar {
    if !terminal::draws_progress() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    style(
        &bar,
        "{msg:40!} [{bar:28}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}",
    );
    bar.set_message(what.to_owned());
    bar
}

/// Bytes that come without a known end, invisible where nobody looks.
pub fn stream(what: &str) -> ProgressBar {
    if !terminal::draws_progress() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    style(
        &bar,
        "{spinner} {msg} {binary_bytes} {binary_bytes_per_sec} ({elapsed})",
    );
    bar.set_message(what.to_owned());
    bar
}

/// A spinner beside what is waited for, invisible where nobody looks.
pub fn spinner(what: &str) -> ProgressBar {
    if !terminal::draws_progress() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    style(&bar, "{spinner} {msg} ({elapsed})");
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

/// Sizes as people read them: `512B`, `1.5KiB`, `23.4MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes}B")
    } else {
        format!("{value:.1}{}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1536, "1.5KiB"),
            (5 << 20, "5.0MiB"),
            (3 << 30, "3.0GiB"),
        ] {
            assert_eq!(super::size(bytes), text);
        }
    }
}
