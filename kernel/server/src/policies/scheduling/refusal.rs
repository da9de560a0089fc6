//! Why a pod waits, in Kubernetes' words, with what would help; and what news it waits for.
use super::mirror::{News, nodes, symbols::Symbols};
use sampan_sandbox::scheduler::{Label, Refusal, Rule};

/// What an end of less important pods does not change.
fn lasting(rule: &Rule) -> bool {
    matches!(
        rule,
        Rule::NodeName | Rule::Unschedulable | Rule::Taint(_) | Rule::NodeAffinity | Rule::SpreadLabel
    )
}

/// What happens of a pod that finds no place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preemption {
    /// Where victims make room, or others are ending.
    pub node: Option<String>,
    pub victims: usize,
    /// Why it is not even looked for.
    pub never: bool,
}

/// `0/12 nodes are available: 3 node(s) had untolerated taint {k: v}, 9 Insufficient cpu. preemption: … Remedy: …`
pub fn text(refusal: &Refusal, preemption: &Preemption, symbols: &Symbols) -> String {
    let all = refusal.nodes;
    let mut reasons: Vec<String> = refusal
        .turned_down
        .iter()
        .map(|one| format!("{} {}", one.nodes, reason(&one.rule, symbols)))
        .collect();
    // In the order of their texts, as there.
    reasons.sort();
    if refusal.for_its_group {
        reasons.push("there was no place for enough others of its group".to_owned());
    }
    let mut text = match reasons.is_empty() {
        true => format!("0/{all} nodes are available."),
        false => format!("0/{all} nodes are available: {}.", reasons.join(", ")),
    };
    if let Some(said) = preempted(refusal, preemption) {
        text.push_str(&format!(" preemption: {said}"));
    }
    if let Some(remedy) = remedy(refusal, preemption, symbols) {
        text.push_str(&format!(" Remedy: {remedy}."));
    }
    text
}

fn preempted(refusal: &Refusal, preemption: &Preemption) -> Option<String> {
    let all = refusal.nodes;
    match (&preemption.node, preemption.victims) {
        (Some(node), 0) => return Some(format!("pods that are ending on {node} make room.")),
        (Some(node), victims) => return Some(format!("{victims} less important pod(s) make room on {node}.")),
        (None, _) if refusal.for_its_group || all == 0 => return None,
        (None, _) if preemption.never => return Some("not eligible due to preemptionPolicy=Never.".to_owned()),
        (None, _) => {}
    }
    let lasting = refusal
        .turned_down
        .iter()
        .filter(|one| lasting(&one.rule))
        .map(|one| one.nodes);
    let lasting = lasting.sum::<u32>().min(all);
    let mut parts = Vec::new();
    if lasting > 0 {
        parts.push(format!("{lasting} Preemption is not helpful for scheduling"));
    }
    if all > lasting {
        let others = all - lasting;
        parts.push(format!("{others} No preemption victims found for incoming pod"));
    }
    Some(format!("0/{all} nodes are available: {}.", parts.join(", ")))
}

/// In Kubernetes' words.
pub fn reason(rule: &Rule, symbols: &Symbols) -> String {
    let fixed = match rule {
        Rule::NodeName => "node(s) didn't match the requested node name",
        Rule::Unschedulable => "node(s) were unschedulable",
        Rule::Taint(Label { key: 0, .. }) => "node(s) had untolerated taint(s)",
        Rule::Taint(taint) => {
            let (key, value) = (symbols.text(taint.key), symbols.text(taint.value));
            return format!("node(s) had untolerated taint {{{key}: {value}}}");
        }
        Rule::NodeAffinity => "node(s) didn't match Pod's node affinity/selector",
        Rule::Ports => "node(s) didn't have free ports for the requested pod ports",
        Rule::Pods => "Too many pods",
        Rule::Cpu => "Insufficient cpu",
        Rule::Memory => "Insufficient memory",
        Rule::EphemeralStorage => "Insufficient ephemeral-storage",
        Rule::Extended(name) => return format!("Insufficient {}", symbols.text(*name)),
        Rule::SpreadLabel => "node(s) didn't match pod topology spread constraints (missing required label)",
        Rule::Spread => "node(s) didn't match pod topology spread constraints",
        Rule::Affinity => "node(s) didn't match pod affinity rules",
        Rule::AntiAffinity => "node(s) didn't match pod anti-affinity rules",
        Rule::ExistingAntiAffinity => "node(s) didn't satisfy existing pods anti-affinity rules",
    };
    fixed.to_owned()
}

/// What would help, by the rule that turned down the most nodes; of equals the one that is asked last, since the nodes it
/// turned down passed the others.
fn remedy(refusal: &Refusal, preemption: &Preemption, symbols: &Symbols) -> Option<String> {
    if preemption.node.is_some() {
        return None;
    }
    if refusal.nodes == 0 {
        return Some("add a node (sampan join)".to_owned());
    }
    let most = refusal.turned_down.iter().max_by_key(|one| one.nodes)?;
    let fixed = match &most.rule {
        Rule::NodeName => "the node that the pod names is not there, or takes it no more",
        Rule::Unschedulable => "sampan uncordon NODE",
        Rule::Taint(taint) if symbols.text(taint.key) == nodes::NOT_READY => {
            "see why the nodes are not ready (sampan describe node NODE)"
        }
        Rule::Taint(_) => "add a toleration to the pod, or take the taint from a node",
        Rule::NodeAffinity => {
            "label a node as the pod's nodeSelector and node affinity ask (sampan label node NODE KEY=VALUE)"
        }
        Rule::Ports => "free the host port, use another, or add a node",
        Rule::Pods => "add a node, or delete pods",
        Rule::Cpu | Rule::Memory | Rule::EphemeralStorage | Rule::Extended(_) => {
            let name = resource(&most.rule, symbols);
            return Some(format!(
                "lower the pod's request for {name}, delete pods, or add a node"
            ));
        }
        Rule::SpreadLabel => "label the nodes with the constraint's topologyKey",
        Rule::Spread => "add nodes where there are fewest such pods, or raise maxSkew",
        Rule::Affinity => "start the pods that it wants to be near to, or change its podAffinity",
        Rule::AntiAffinity | Rule::ExistingAntiAffinity => "add a node, or change the podAntiAffinity",
    };
    Some(fixed.to_owned())
}

fn resource<'a>(rule: &Rule, symbols: &'a Symbols) -> &'a str {
    match rule {
        Rule::Cpu => "cpu",
        Rule::Memory => "memory",
        Rule::Extended(name) => symbols.text(*name),
        _ => "ephemeral-storage",
    }
}

/// The news that could help against these rules. A new node may always.
pub fn hopes(refusal: &Refusal) -> News {
    if refusal.for_its_group {
        return News(!News::POLICY.0);
    }
    let of = |rule: &Rule| match rule {
        Rule::NodeName | Rule::Unschedulable | Rule::Taint(_) | Rule::NodeAffinity | Rule::SpreadLabel => News::SHAPE,
        Rule::Ports | Rule::Pods | Rule::Cpu | Rule::Memory | Rule::EphemeralStorage | Rule::Extended(_) => News::ROOM,
        // Labels of nodes say which nodes are near to each other.
        Rule::Spread => News::SHAPE.and(News::COMPANY).and(News::DEPARTURE),
        Rule::Affinity => News::SHAPE.and(News::COMPANY),
        Rule::AntiAffinity | Rule::ExistingAntiAffinity => News::SHAPE.and(News::DEPARTURE),
    };
    let all = refusal.turned_down.iter().map(|one| of(&one.rule));
    all.fold(News::NODE, News::and)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sandbox::scheduler::TurnedDown;

    fn refusal(nodes: u32, rules: &[(Rule, u32)]) -> Refusal {
        let one = |(rule, nodes): &(Rule, u32)| TurnedDown {
            rule: *rule,
            nodes: *nodes,
        };
        Refusal {
            nodes,
            turned_down: rules.iter().map(one).collect(),
            for_its_group: false,
        }
    }

    #[test]
    fn it_says_what_kubernetes_says_and_what_would_help() {
        let mut symbols = Symbols::default();
        let (key, value) = (symbols.number("k"), symbols.number("v"));
        let refusal = refusal(12, &[(Rule::Taint(Label { key, value }), 3), (Rule::Cpu, 9)]);
        assert_eq!(
            text(&refusal, &Preemption::default(), &symbols),
            "0/12 nodes are available: 3 node(s) had untolerated taint {k: v}, 9 Insufficient cpu. preemption: 0/12 nodes \
             are available: 3 Preemption is not helpful for scheduling, 9 No preemption victims found for incoming pod. \
             Remedy: lower the pod's request for cpu, delete pods, or add a node."
        );
        let nominated = Preemption {
            node: Some("n".to_owned()),
            victims: 2,
            never: false,
        };
        assert!(text(&refusal, &nominated, &symbols).ends_with("preemption: 2 less important pod(s) make room on n."));
    }

    #[test]
    fn no_nodes_at_all_is_said_so() {
        let said = text(&refusal(0, &[]), &Preemption::default(), &Symbols::default());
        assert_eq!(said, "0/0 nodes are available. Remedy: add a node (sampan join).");
    }

    #[test]
    fn what_helps_against_each_rule() {
        let cpu = hopes(&refusal(2, &[(Rule::Cpu, 2)]));
        assert!(cpu.meets(News::ROOM) && cpu.meets(News::NODE));
        assert!(!cpu.meets(News::SHAPE) && !cpu.meets(News::COMPANY) && !cpu.meets(News::DEPARTURE));
        let both = hopes(&refusal(2, &[(Rule::NodeAffinity, 1), (Rule::Affinity, 1)]));
        assert!(both.meets(News::SHAPE) && both.meets(News::COMPANY) && !both.meets(News::ROOM));
    }
}
