//! The control plane's figures in Prometheus' text format: counters, gauges and histograms by name and labels.
//!
//! One registry for the process: whoever has something to count names it where it happens.
use parking_lot::Mutex;
use std::{collections::BTreeMap, fmt::Write as _};

/// Series kept at the most; a label that takes ever new values must not eat the memory.
const MAX_SERIES: usize = 4096;

/// Upper bounds of the histograms' buckets, in seconds.
const BUCKETS: [f64; 12] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0,
];

#[derive(Clone, Copy)]
enum Series {
    Counter(f64),
    Gauge(f64),
    Histogram {
        counts: [u64; BUCKETS.len()],
        count: u64,
        sum: f64,
    },
}

static SERIES: Mutex<BTreeMap<(&'static str, String), Series>> = Mutex::new(BTreeMap::new());

fn change(name: &'static str, labels: &[(&str, &str)], empty: Series, change: impl FnOnce(&mut Series)) {
    let mut series = SERIES.lock();
    let key = (name, label_text(labels));
    if series.len() >= MAX_SERIES && !series.contains_key(&key) {
        return;
    }
    change(series.entry(key).or_insert(empty));
}

fn label_text(labels: &[(&str, &str)]) -> String {
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
        .collect();
    pairs.join(",")
}

/// Adds to a counter.
pub fn count(name: &'static str, labels: &[(&str, &str)], more: f64) {
    change(name, labels, Series::Counter(0.0), |series| {
        if let Series::Counter(value) = series {
            *value += more;
        }
    });
}

/// Sets a gauge.
pub fn set(name: &'static str, labels: &[(&str, &str)], now: f64) {
    change(name, labels, Series::Gauge(0.0), |series| {
        if let Series::Gauge(value) = series {
            *value = now;
        }
    });
}

/// Adds an observation, in seconds, to a histogram.
pub fn observe(name: &'static str, labels: &[(&str, &str)], seconds: f64) {
    let empty = Series::Histogram {
        counts: [0; BUCKETS.len()],
        count: 0,
        sum: 0.0,
    };
    change(name, labels, empty, |series| {
        if let Series::Histogram { counts, count, sum } = series {
            for (bucket, bound) in counts.iter_mut().zip(BUCKETS) {
                *bucket += u64::from(seconds <= bound);
            }
            *count += 1;
            *sum += seconds;
        }
    });
}

/// All of it, in Prometheus' text format.
pub fn text() -> String {
    let series = SERIES.lock().clone();
    let mut text = String::new();
    let mut last = "";
    for ((name, labels), series) in &series {
        let kind = match series {
            Series::Counter(_) => "counter",
            Series::Gauge(_) => "gauge",
            Series::Histogram { .. } => "histogram",
        };
        // Writing to a string cannot fail.
        if *name != last {
            let _ = writeln!(text, "# TYPE {name} {kind}");
            last = name;
        }
        match series {
            Series::Counter(value) | Series::Gauge(value) => {
                let braces = if labels.is_empty() {
                    String::new()
                } else {
                    format!("{{{labels}}}")
                };
                let _ = writeln!(text, "{name}{braces} {value}");
            }
            Series::Histogram { counts, count, sum } => {
                let comma = if labels.is_empty() { "" } else { "," };
                for (bucket, bound) in counts.iter().zip(BUCKETS) {
                    let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {bucket}");
                }
                let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
                let braces = if labels.is_empty() {
                    String::new()
                } else {
                    format!("{{{labels}}}")
                };
                let _ = writeln!(text, "{name}_sum{braces} {sum}\n{name}_count{braces} {count}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn figures_become_text() {
        super::count("t_things_total", &[("what", "a\"b")], 2.0);
        super::count("t_things_total", &[("what", "a\"b")], 1.0);
        super::set("t_level", &[], 7.0);
        super::observe("t_seconds", &[], 0.002);
        let text = super::text();
        assert!(
            text.contains("# TYPE t_things_total counter\nt_things_total{what=\"a\\\"b\"} 3\n"),
            "{text}"
        );
        assert!(text.contains("t_level 7\n"), "{text}");
        assert!(
            text.contains("t_seconds_bucket{le=\"0.001\"} 0\nt_seconds_bucket{le=\"0.0025\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("t_seconds_count 1\n"), "{text}");
    }
}
