//! The ranges of addresses of a cluster and of this machine's pods: what is said of them at the start, and what follows from it.
use super::Settings;
use anyhow::{Error, Result, bail};
use sampan_api::dual::{self, ClusterRanges};
use sampan_server::enroll::Enrolled;

/// The ranges of a cluster, if something is said of them.
pub fn read(pods: &str, services: &str) -> Result<Option<ClusterRanges>> {
    if pods.is_empty() && services.is_empty() {
        return Ok(None);
    }
    ClusterRanges::read(pods, services).map(Some).map_err(Error::msg)
}

/// Says what is better said before a cluster is made that cannot be as it is asked for.
pub fn check(settings: &Settings) -> Result<()> {
    // One that is there already has its own, and knows them.
    let is_new = !settings.data.join("server/cluster").exists();
    let ranges = settings.ranges.or(is_new.then(ClusterRanges::default));
    let Some(ranges) = ranges.filter(|_| settings.agent && !settings.rootless) else {
        return Ok(());
    };
    if ranges.is_dual() {
        sampan_node::net::has_ipv6().map_err(Error::msg)?;
    }
    match settings.pod_cidr.as_str() {
        "" => Ok(()),
        pods => dual::of_node(pods)
            .and_then(|pods| ranges.admits(pods))
            .map_err(Error::msg),
    }
}

/// The ranges of the cluster that this machine has joined.
pub fn of_joined(asked: Option<ClusterRanges>, enrolled: &Enrolled) -> Result<ClusterRanges> {
    let has = enrolled.ranges().map_err(Error::msg)?;
    sampan_server::ranges::check(&asked.unwrap_or(has), &has).map_err(Error::msg)?;
    Ok(has)
}

/// Whether a node that has joined may be started with these for its pods; it has those that it was given.
pub fn check_given(asked: &str, enrolled: &Enrolled) -> Result<()> {
    if asked.is_empty() || dual::of_node(asked) == dual::of_node(&enrolled.pod_cidr) {
        return Ok(());
    }
    bail!(
        "--pod-cidr {asked}: this machine has joined cluster \"{}\" as a node, and its servers gave it {}: leave --pod-cidr out",
        enrolled.cluster_name,
        enrolled.pod_cidr
    )
}

/// The ranges of the pods' addresses on the machine that a cluster begins with.
pub fn first_pods(cluster: ClusterRanges) -> String {
    cluster.nodes().next().unwrap_or(cluster.pods).to_string()
}
