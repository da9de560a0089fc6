//! The ranges of addresses of the cluster, for pods and for Services: what was said when it was made, in the Cluster object, and
//! the usual ones where nothing was.
use crate::features;
use sampan_api::dual::ClusterRanges;
use sampan_state::Snapshot;
use serde_json::{Value, json};

/// The field of the Cluster object's status.
const FIELD: &str = "ranges";

/// Those of a cluster.
pub fn of(state: &Snapshot) -> ClusterRanges {
    let said = state.get(&features::key()).map(|cluster| cluster.field_value("status"));
    let said = said.unwrap_or_default();
    let text = |name: &str| said[FIELD][name].as_str().unwrap_or_default().to_owned();
    // Nobody writes what does not go together.
    ClusterRanges::read(&text("pods"), &text("services")).unwrap_or_default()
}

/// Adds them to the status of a Cluster object, where they are not the usual ones.
pub(crate) fn note(ranges: &ClusterRanges, status: &mut Value) {
    if *ranges != ClusterRanges::default() {
        status[FIELD] = json!({"pods": ranges.pods.to_string(), "services": ranges.services.to_string()});
    }
}

/// Whether a cluster is as it is asked for.
///
/// # Errors
/// What it has instead, and what to do.
pub fn check(asked: &ClusterRanges, has: &ClusterRanges) -> Result<(), String> {
    if asked == has {
        return Ok(());
    }
    Err(format!(
        "this cluster was made with --cluster-cidr {} --service-cidr {}, which cannot be changed: leave both out, or make a new \
         cluster in another --data-dir",
        has.pods, has.services
    ))
}

/// As [`check`], of what is said when a server starts, if something is.
///
/// # Errors
/// As [`check`].
pub fn check_given(asked: Option<ClusterRanges>, state: &Snapshot) -> Result<(), String> {
    let has = of(state);
    check(&asked.unwrap_or(has), &has)
}
