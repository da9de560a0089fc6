//! The plugin `ipam`: addresses in order, each coming round again as late as can be; and the one that a pod names with the
//! annotation `sampan.dev/ip-address`, if it is free.
use sampan_sdk::ipam::{Description, Ipam, Pod, Range, annotation, description};
use std::net::Ipv4Addr;

/// With which a pod names its address: `10.42.0.50`.
pub const NAMES_ADDRESS: &str = "sampan.dev/ip-address";

#[derive(Default)]
pub struct InOrder;

impl Ipam for InOrder {
    fn describe() -> Description {
        let summary = "Addresses in order, and those that pods name.";
        description("ipam", env!("CARGO_PKG_VERSION"), summary)
    }

    fn claim(&self, pod: &Pod, range: &Range) -> Result<Ipv4Addr, String> {
        match annotation(pod, NAMES_ADDRESS) {
            Some(text) => named(text, range),
            None => range.free().next().ok_or_else(|| {
                format!("no address is free in {range}: remove pods, or give the node a larger pod CIDR")
            }),
        }
    }
}

/// The address that a pod names, if it can have it.
fn named(text: &str, range: &Range) -> Result<Ipv4Addr, String> {
    let refused = |why: String| Err(format!("the annotation {NAMES_ADDRESS}: {why}"));
    let Ok(address) = text.parse::<Ipv4Addr>() else {
        let text: String = text.escape_debug().take(64).collect();
        return refused(format!("\"{text}\" is no address of IPv4, as in 10.42.0.50"));
    };
    if !range.contains(address) {
        let node = range.node();
        return refused(format!(
            "{address} is not in {range}, the addresses of pods on the node {node}: name one of these, or the node that has it \
             (nodeName)"
        ));
    }
    if range.is_reserved(address) {
        return refused(format!("{address} is the node's own, or the first or last of {range}"));
    }
    match range.holder(address) {
        Some(pod) => refused(format!("{address} is taken by the pod {}/{}", pod.namespace, pod.name)),
        None => Ok(address),
    }
}

sampan_sdk::export_ipam!(InOrder);

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sdk::{Value, testing::Addresses};

    fn node(prefix: u8) -> Addresses<InOrder> {
        Addresses::new(prefix, &Value::Null)
    }

    fn given(node: &mut Addresses<InOrder>, name: &str) -> String {
        node.claim(name, &[]).unwrap()
    }

    fn named(node: &mut Addresses<InOrder>, name: &str, address: &str) -> Result<String, String> {
        node.claim(name, &[("other", "x"), (NAMES_ADDRESS, address)])
    }

    #[test]
    fn an_address_comes_round_again_as_late_as_can_be() {
        let mut node = node(29);
        let first: Vec<String> = ["a", "b", "c"].map(|name| given(&mut node, name)).into();
        assert_eq!(first, ["10.42.0.2", "10.42.0.3", "10.42.0.4"]);
        node.release("a");
        node.release("c");
        assert_eq!(given(&mut node, "d"), "10.42.0.5");
        assert_eq!(given(&mut node, "e"), "10.42.0.6");
        // Around: neither the range's own, nor the node's, nor the last.
        assert_eq!(given(&mut node, "f"), "10.42.0.2");
        assert_eq!(given(&mut node, "g"), "10.42.0.4");
        let full = node.claim("h", &[]).unwrap_err();
        assert!(full.starts_with("no address is free in 10.42.0.0/29"), "{full}");
        node.release("b");
        assert_eq!(given(&mut node, "h"), "10.42.0.3");
    }

    #[test]
    fn what_pods_have_is_not_given_and_what_was_before_it_comes_late() {
        let mut node = node(24);
        node.keep("old", "10.42.0.9");
        node.keep("older", "10.42.0.4");
        assert_eq!(given(&mut node, "a"), "10.42.0.10");
        node.release("old");
        let others: Vec<String> = (0..251).map(|n| given(&mut node, &n.to_string())).collect();
        assert!(!others.contains(&"10.42.0.4".to_owned()));
        assert_eq!(others.last().unwrap(), "10.42.0.9", "last of all");
        assert!(node.claim("x", &[]).is_err());
    }

    #[test]
    fn a_pod_has_the_address_that_it_names() {
        let mut node = node(24);
        assert_eq!(given(&mut node, "a"), "10.42.0.2");
        assert_eq!(named(&mut node, "b", "10.42.0.50").unwrap(), "10.42.0.50");
        assert_eq!(given(&mut node, "c"), "10.42.0.3", "the order is as it was");
        assert_eq!(named(&mut node, "d", "10.42.0.4").unwrap(), "10.42.0.4");
        assert_eq!(given(&mut node, "e"), "10.42.0.5");
    }

    #[test]
    fn one_that_cannot_be_had_is_refused_in_words() {
        let mut node = node(24);
        named(&mut node, "web", "10.42.0.50").unwrap();
        for (address, words) in [
            ("10.42.0.50", "10.42.0.50 is taken by the pod default/web"),
            (
                "10.42.1.50",
                "10.42.1.50 is not in 10.42.0.0/24, the addresses of pods on the node a",
            ),
            ("10.42.0.1", "10.42.0.1 is the node's own"),
            ("10.42.0.0", "10.42.0.0 is the node's own"),
            ("10.42.0.255", "10.42.0.255 is the node's own"),
            ("fd42::1", "\"fd42::1\" is no address of IPv4"),
            ("web\n", "\"web\\n\" is no address of IPv4"),
        ] {
            let said = named(&mut node, "other", address).unwrap_err();
            assert!(said.starts_with("the annotation sampan.dev/ip-address: "), "{said}");
            assert!(said.contains(words), "{said}");
        }
        // When who had it is gone, it is free.
        node.release("web");
        assert_eq!(named(&mut node, "other", "10.42.0.50").unwrap(), "10.42.0.50");
    }
}
