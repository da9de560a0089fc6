//! Ranges of addresses: which are sound, which go together, and which nodes are given and may have.
use super::*;

fn range(text: &str) -> Dual {
    of_node(text).unwrap()
}

#[test]
fn ranges_of_a_nodes_pods_are_sound() {
    assert_eq!(range("10.42.3.0/24").to_string(), "10.42.3.0/24");
    assert_eq!(
        range("10.42.3.0/24, fd42:0:0:3::/64").to_string(),
        "10.42.3.0/24,fd42:0:0:3::/64"
    );
    for (wrong, said) in [
        ("10.42.0.0", "expected a range of addresses, as in 10.42.0.0/24"),
        ("", "expected a range of addresses"),
        ("10.42.0.0/30", "too small: expected a range of IPv4 of /8 to /29"),
        ("10.0.0.0/7", "too large"),
        ("10.42.0.7/24", "did you mean 10.42.0.0/24?"),
        ("fd42::/64", "of IPv6 alone"),
        ("10.42.0.0/24,fd42::1/64", "did you mean fd42::/64?"),
        (
            "10.42.0.0/24,fd42::/120",
            "too small: expected a range of IPv6 of /48 to /112",
        ),
        ("fd42::/64,10.42.0.0/24", "name the range of IPv4 first"),
        ("10.42.0.0/24,10.43.0.0/24", "two ranges of IPv4"),
        ("fd42::/64,fd43::/64", "two ranges of IPv6"),
        ("10.42.0.0/24,fd42::/64,fd43::/64", "more than two"),
        ("10.0.0.0/8,fd42::/112", "fewer addresses of IPv6"),
    ] {
        let error = of_node(wrong).unwrap_err();
        assert!(error.contains(said), "{wrong}: {error}");
    }
}

#[test]
fn ranges_of_a_cluster_go_together() {
    let both = ClusterRanges::read("10.42.0.0/16,fd42::/56", "10.96.0.0/12,fd96::/112").unwrap();
    assert!(both.is_dual());
    assert_eq!(ClusterRanges::read("", ""), Ok(ClusterRanges::default()));
    for (pods, services, said) in [
        ("10.42.0.0/16,fd42::/56", "", "give both or neither one (--service-cidr"),
        (
            "",
            "10.96.0.0/12,fd96::/112",
            "give both or neither one (--cluster-cidr",
        ),
        (
            "10.96.0.0/16",
            "",
            "10.96.0.0/16 overlaps with the service CIDR 10.96.0.0/12",
        ),
        (
            "10.42.0.0/16,fd42::/56",
            "10.96.0.0/12,fd42::/112",
            "fd42::/56 overlaps with the service CIDR fd42::/112",
        ),
        ("10.42.0.0/25", "", "the cluster CIDR \"10.42.0.0/25\" is too small"),
        (
            "10.42.0.0/16,fd42::/72",
            "10.96.0.0/12,fd96::/112",
            "too small: expected a range of IPv6 of /48 to /64",
        ),
        (
            "10.42.0.0/16",
            "10.96.0.0/29",
            "the service CIDR \"10.96.0.0/29\" is too small",
        ),
    ] {
        let error = ClusterRanges::read(pods, services).unwrap_err();
        assert!(error.contains(said), "{pods} {services}: {error}");
    }
}

#[test]
fn nodes_are_given_ranges_that_are_apart() {
    let cluster = ClusterRanges::read("10.42.0.0/16,fd42::/56", "10.96.0.0/12,fd96::/112").unwrap();
    let all: Vec<Dual> = cluster.nodes().collect();
    assert_eq!(all.len(), 256);
    assert_eq!(all[17].to_string(), "10.42.17.0/24,fd42:0:0:11::/64");
    assert_eq!(all[17].clash(all[18]), None);
    assert!(all.iter().all(|node| cluster.admits(*node).is_ok()));
    let few = ClusterRanges::read("10.42.0.0/16,fd42::/62", "10.96.0.0/12,fd96::/112").unwrap();
    assert_eq!(few.nodes().count(), 4);
    assert_eq!(ClusterRanges::default().nodes().count(), 256);
}

#[test]
fn a_nodes_ranges_are_of_its_clusters_families_and_away_from_services() {
    let single = ClusterRanges::default();
    let small = ClusterRanges::read("10.42.0.0/24", "").unwrap();
    let dual = ClusterRanges::read("10.42.0.0/16,fd42::/56", "10.96.0.0/12,fd96::/112").unwrap();
    for (cluster, node, said) in [
        (single, "10.96.3.0/24", "overlaps with 10.96.0.0/12, which Services"),
        (single, "10.0.0.0/8", "overlaps with 10.96.0.0/12"),
        (single, "10.42.0.0/24,fd42::/64", "this cluster has none"),
        (dual, "10.42.0.0/24", "this cluster is dual-stack"),
        (dual, "10.42.0.0/24,fd96::/64", "overlaps with fd96::/112"),
        (small, "10.43.0.0/24", "lies outside of 10.42.0.0/24"),
        (small, "10.42.0.0/23", "choose one within, as in 10.42.0.0/24"),
        (single, "10.43.0.0/24", "\"10.43.0.0/24\" lies outside of 10.42.0.0/16"),
        (
            dual,
            "10.42.0.0/24,fd42:0:0:100::/64",
            "\"fd42:0:0:100::/64\" lies outside of fd42::/56, which nodes",
        ),
        (dual, "10.43.0.0/24,fd42::/64", "as in 10.42.0.0/24,fd42::/64, or"),
    ] {
        let error = cluster.admits(range(node)).unwrap_err();
        assert!(error.contains(said), "{node}: {error}");
    }
    for (cluster, node) in [
        (single, "10.42.0.0/16"),
        (single, "10.42.7.0/24"),
        (small, "10.42.0.0/24"),
        (small, "10.42.0.128/25"),
        (dual, "10.42.8.0/22,fd42:0:0:8::/62"),
    ] {
        assert_eq!(cluster.admits(range(node)), Ok(()), "{node}");
    }
}
