//! Whether rules let a packet pass, and the NetworkPolicies behind a refusal. The datapath's rules do not say whose they are, but
//! what refuses a packet is all that isolate its pod: none of them has allowed it.
use super::{
    super::{ground::LocalPod, objects::Objects},
    Here, Packet, Step, Verdict, step,
};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use sampan_api::{Key, LabelSelector};
use sampan_sandbox::network::{Address, Entry, EntryKey, PodKey, PodRules, Rule};
use std::net::IpAddr;

const RESOURCE: &str = "networkpolicies.networking.k8s.io";

/// Policies that a refusal names at the most.
const MOST_NAMED: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ingress,
    Egress,
}

impl Here<'_> {
    fn rules(&self, pod: &LocalPod) -> Option<&PodRules> {
        let key = EntryKey::Rules(PodKey {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
        });
        match self.datapath.get(&key) {
            Some(Entry::Rules(rules)) => Some(rules),
            _ => None,
        }
    }

    /// Whether the rules of a pod let a packet pass, if it has any.
    pub(super) fn passes(
        &self,
        pod: &LocalPod,
        direction: Direction,
        packet: Packet,
        way: Option<u32>,
        steps: &mut Vec<Step>,
    ) -> bool {
        let (what, toward, other) = match direction {
            Direction::Ingress => ("ingress", "from", packet.source),
            Direction::Egress => ("egress", "to", packet.destination),
        };
        let rules = self.rules(pod).and_then(|rules| match direction {
            Direction::Ingress => rules.ingress.as_ref(),
            Direction::Egress => rules.egress.as_ref(),
        });
        let Some(rules) = rules else { return true };
        if self.allows(rules, other, packet) {
            let text = format!("a policy allows it {toward} {other}");
            steps.push(step(what, text, Verdict::GoesOn, way));
            return true;
        }
        let named = isolating(self.objects, &pod.key(), direction);
        let (of, port) = (said_policies(&named), packet.port);
        let text = match rules.len() {
            0 => format!("no rule of {of} allows anything {toward} anybody: not {toward} {other}"),
            rules => format!("none of {rules} rules of {of} allows it {toward} {other}, port {port}"),
        };
        steps.push(step(what, text, Verdict::Stops, way));
        false
    }

    fn allows(&self, rules: &[Rule], other: IpAddr, packet: Packet) -> bool {
        rules.iter().any(|rule| {
            let peers = rule.peers.as_ref().is_none_or(|set| self.is_in(set, other.into()));
            let ports = rule.ports.as_ref().is_none_or(|ports| {
                ports
                    .iter()
                    .any(|range| range.protocol == packet.protocol && (range.first..=range.last).contains(&packet.port))
            });
            peers && ports
        })
    }

    fn is_in(&self, set: &str, address: Address) -> bool {
        match self.datapath.get(&EntryKey::Peers(set.to_owned())) {
            Some(Entry::Peers(set)) => set.members.iter().any(|range| range.contains(address)),
            _ => false,
        }
    }
}

/// The policies that isolate a pod in a direction, as `namespace/name`; none where objects are not known.
pub fn isolating(objects: &Objects, pod: &Key, direction: Direction) -> Vec<String> {
    let Some(labels) = objects.get(pod).map(|pod| &pod.metadata.labels) else {
        return Vec::new();
    };
    let within = objects.of(RESOURCE).filter(|(key, _)| key.namespace == pod.namespace);
    let takes = |spec: &NetworkPolicySpec| {
        let selector = spec.pod_selector.as_ref().map(LabelSelector::from_json);
        let selector = selector.unwrap_or_else(|| Ok(LabelSelector::default()));
        isolates(spec, direction) && selector.is_ok_and(|selector| selector.matches(labels))
    };
    let taking = within.filter(|(_, policy)| {
        let typed = policy.typed::<NetworkPolicy>();
        typed.is_ok_and(|policy| takes(&policy.spec.unwrap_or_default()))
    });
    taking
        .map(|(key, _)| format!("{}/{}", key.namespace, key.name))
        .collect()
}

/// Where a policy does not say: for ingress always, for egress if it has rules for it.
fn isolates(spec: &NetworkPolicySpec, direction: Direction) -> bool {
    let types = spec.policy_types.as_deref().unwrap_or_default();
    match direction {
        Direction::Ingress => types.is_empty() || types.iter().any(|name| name == "Ingress"),
        Direction::Egress if types.is_empty() => spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
        Direction::Egress => types.iter().any(|name| name == "Egress"),
    }
}

/// Policies by name, those that fit a line.
fn said_policies(named: &[String]) -> String {
    match named {
        [] => "policies".to_owned(),
        [one] => format!("policy {one}"),
        few if few.len() <= MOST_NAMED => format!("policies {}", few.join(", ")),
        many => {
            let (first, rest) = many.split_at(MOST_NAMED);
            format!("policies {} and {} more", first.join(", "), rest.len())
        }
    }
}
