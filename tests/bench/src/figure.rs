//! One measured figure, as a line for people or for machines.
use serde_json::json;

/// What was measured, beside what.
#[derive(Clone, Debug)]
pub struct Figure {
    pub bench: &'static str,
    pub case: String,
    pub value: f64,
    pub unit: &'static str,
    pub lower_is_better: bool,
    pub peer: Option<(&'static str, f64)>,
    pub target: Option<f64>,
}

impl Figure {
    fn met(&self) -> Option<bool> {
        self.target.map(|target| {
            if self.lower_is_better {
                self.value <= target
            } else {
                self.value >= target
            }
        })
    }

    pub fn print(&self, as_json: bool) {
        let ratio = self.peer.map(|(_, value)| self.value / value);
        if as_json {
            let line = json!({
                "bench": self.bench, "case": self.case, "value": self.value, "unit": self.unit,
                "better": if self.lower_is_better { "lower" } else { "higher" },
                "peer": self.peer.map(|(name, _)| name), "peer_value": self.peer.map(|(_, value)| value),
                "ratio": ratio, "floor": null, "target": self.target, "met": self.met(),
            });
            println!("{line}");
            return;
        }
        let mut line = format!("{} {}: {:.2} {}", self.bench, self.case, self.value, self.unit);
        if let (Some((peer, value)), Some(ratio)) = (self.peer, ratio) {
            line.push_str(&format!(", {peer} {value:.2} (ratio {ratio:.2})"));
        }
        if let (Some(target), Some(met)) = (self.target, self.met()) {
            line.push_str(&format!(", target {target}: {}", if met { "met" } else { "MISSED" }));
        }
        println!("{line}");
    }
}

/// The value below which a share of the samples lies.
pub fn percentile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1);
    samples
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or_default()
}
