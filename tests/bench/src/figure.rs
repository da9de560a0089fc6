//! One measured figure, as a line for people or for machines.
use serde_json::json;

/// Who is measured beside us.
#[derive(Clone, Debug)]
pub struct Peer {
    pub name: &'static str,
    /// None: it is not installed here.
    pub value: Option<f64>,
}

/// A peer that was measured in the same run.
pub fn beside(name: &'static str, value: f64) -> Option<Peer> {
    Some(Peer {
        name,
        value: Some(value),
    })
}

/// A peer that is not here.
pub fn missing(name: &'static str) -> Option<Peer> {
    Some(Peer { name, value: None })
}

/// A peer that may not be here.
pub fn perhaps_beside(name: &'static str, value: Option<f64>) -> Option<Peer> {
    Some(Peer { name, value })
}

/// What was measured, beside what.
#[derive(Clone, Debug)]
pub struct Figure {
    pub bench: &'static str,
    pub case: String,
    pub value: f64,
    pub unit: &'static str,
    pub lower_is_better: bool,
    pub peer: Option<Peer>,
    /// What this machine allows at the best, in the same unit.
    pub floor: Option<f64>,
    pub target: Option<f64>,
}

impl Figure {
    /// One of which less is better, with nothing beside it yet.
    pub fn new(bench: &'static str, case: &str, value: f64, unit: &'static str) -> Self {
        Figure {
            bench,
            case: case.to_owned(),
            value,
            unit,
            lower_is_better: true,
            peer: None,
            floor: None,
            target: None,
        }
    }

    pub fn peer_value(&self) -> Option<f64> {
        self.peer.as_ref().and_then(|peer| peer.value)
    }

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
        let ratio = self.peer_value().map(|value| self.value / value);
        if as_json {
            let line = json!({
                "bench": self.bench, "case": self.case, "value": self.value, "unit": self.unit,
                "better": if self.lower_is_better { "lower" } else { "higher" },
                "peer": self.peer.as_ref().map(|peer| peer.name), "peer_value": self.peer_value(),
                "ratio": ratio, "floor": self.floor, "target": self.target, "met": self.met(),
            });
            println!("{line}");
            return;
        }
        let mut line = format!("{} {}: {:.2} {}", self.bench, self.case, self.value, self.unit);
        match (&self.peer, ratio) {
            (Some(peer), Some(ratio)) => {
                let value = peer.value.unwrap_or_default();
                line.push_str(&format!(", {} {value:.2} (ratio {ratio:.2})", peer.name));
            }
            (Some(peer), None) => line.push_str(&format!(", {} is missing here", peer.name)),
            (None, _) => {}
        }
        if let Some(floor) = self.floor {
            line.push_str(&format!(", floor {floor:.2}"));
        }
        if let (Some(target), Some(met)) = (self.target, self.met()) {
            line.push_str(&format!(", target {target:.2}: {}", if met { "met" } else { "MISSED" }));
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
