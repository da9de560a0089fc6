//! The policy `policy-name`.
use sampan_sdk::{
    Value,
    ipam::{Description, Ipam, Pod, Range, description},
};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// Pods of some namespaces get addresses from the front of the node's range, so that a firewall knows them. The config says
/// how many addresses are set aside, and for whom: `{"first": {"db": 16}}` leaves the first 16 to the namespace `db`.
#[derive(Default)]
pub struct PolicyName {
    first: BTreeMap<String, u32>,
}

impl PolicyName {
    /// How many addresses at the front are set aside.
    fn aside(&self) -> usize {
        self.first.values().sum::<u32>() as usize
    }
}

impl Ipam for PolicyName {
    fn describe() -> Description {
        let summary = "Some namespaces have the first addresses.";
        description("policy-name", env!("CARGO_PKG_VERSION"), summary)
    }

    fn configure(&mut self, config: &Value) -> Result<(), String> {
        for (namespace, count) in config["first"].as_object().into_iter().flatten() {
            let count = count.as_u64().and_then(|count| u32::try_from(count).ok());
            let count = count.ok_or_else(|| format!("first.{namespace}: expected a number"))?;
            self.first.insert(namespace.clone(), count);
        }
        Ok(())
    }

    /// The node checks the answer: an address that is not free is not given, and is this policy's failure. An error is shown to
    /// people, and the pod waits.
    fn claim(&self, pod: &Pod, range: &Range) -> Result<Ipv4Addr, String> {
        let Some(count) = self.first.get(&pod.namespace) else {
            let mut free = range.free();
            let left = free.find(|one| !range.usable().take(self.aside()).any(|first| first == *one));
            return left.ok_or_else(|| format!("no address is free in {range}"));
        };
        let before = self.first.range(..pod.namespace.clone());
        let before: u32 = before.map(|(_, count)| count).sum();
        let mut own = range.usable().skip(before as usize).take(*count as usize);
        own.find(|one| range.holder(*one).is_none())
            .ok_or_else(|| format!("the {count} addresses of the namespace {} are taken", pod.namespace))
    }
}

sampan_sdk::export_ipam!(PolicyName);

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sdk::{serde_json::json, testing::Addresses};

    #[test]
    fn a_namespace_has_the_first_addresses() {
        let mut node = Addresses::<PolicyName>::new(29, &json!({"first": {"default": 2}}));
        assert_eq!(node.claim("a", &[]).unwrap(), "10.42.0.2");
        assert_eq!(node.claim("b", &[]).unwrap(), "10.42.0.3");
        let refused = node.claim("c", &[]).unwrap_err();
        assert!(
            refused.contains("the 2 addresses of the namespace default are taken"),
            "{refused}"
        );
        node.release("a");
        assert_eq!(node.claim("c", &[]).unwrap(), "10.42.0.2");
    }

    #[test]
    fn others_have_the_rest() {
        let mut node = Addresses::<PolicyName>::new(29, &json!({"first": {"db": 3}}));
        assert_eq!(node.claim("a", &[]).unwrap(), "10.42.0.5");
        assert_eq!(node.claim("b", &[]).unwrap(), "10.42.0.6");
        assert!(node.claim("c", &[]).is_err());
    }

    #[test]
    fn a_config_that_makes_no_sense_is_refused() {
        let refused = PolicyName::default().configure(&json!({"first": {"db": "all"}}));
        assert_eq!(refused, Err("first.db: expected a number".to_owned()));
    }
}
