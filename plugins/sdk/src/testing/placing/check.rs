//! Whether an answer can be carried out: what the kernel's committer looks at, written down plainly, and nothing of what
//! the policy itself is made of.
use super::Kernel;
use crate::scheduler::types::{Effect, HostPort, Node, Placement, Pod, PodClass, Taint, Toleration, Unplaced};
use std::collections::BTreeMap;

/// Whether an answer is one for these pods.
pub fn form(pods: &[Pod], placement: &Placement) -> Vec<String> {
    let (asked, answered) = (pods.len(), placement.nodes.len());
    if answered == 0 || answered > asked {
        return vec![format!("{answered} answers for {asked} pods")];
    }
    let without: Vec<u32> = (0..)
        .zip(&placement.nodes)
        .filter(|(_, node)| **node == 0)
        .map(|(place, _)| place)
        .collect();
    let said: Vec<u32> = placement.unplaced.iter().map(|unplaced| unplaced.pod).collect();
    if without != said {
        return vec![format!(
            "pods {without:?} of the call have no node, and a word is said of {said:?}"
        )];
    }
    let refusals = placement.refusals.len();
    let beyond = placement
        .unplaced
        .iter()
        .find(|unplaced| unplaced.refusal as usize >= refusals);
    beyond
        .map(|unplaced| format!("refusal {} of {refusals} is named", unplaced.refusal))
        .into_iter()
        .collect()
}

/// Whether a pod may be bound to a node.
///
/// # Errors
/// Why not.
pub fn bind(kernel: &Kernel, pod: &Pod, node: u32) -> Result<(), String> {
    let wrong = |why: String| Err(format!("pod {}, node {node}: {why}", pod.id));
    let (Some(to), Some(class)) = (kernel.nodes.get(&node), kernel.classes.get(&pod.class)) else {
        return wrong("there is no such node or class".to_owned());
    };
    if let Some(placed) = kernel.pods.get(&pod.id) {
        return wrong(format!("it is bound to node {} already", placed.node));
    }
    if pod.pinned != 0 && pod.pinned != node {
        return wrong(format!("it may go to node {} only", pod.pinned));
    }
    if let Some(taint) = forbidding(kernel, to)
        .into_iter()
        .find(|taint| !tolerated(class, taint))
    {
        return wrong(format!("it does not tolerate {}", kernel.text(taint.key)));
    }
    match short(kernel, to, class) {
        Some(what) => wrong(format!("there is too little {what}")),
        None => Ok(()),
    }
}

/// Whether victims are such as may go for a pod.
///
/// # Errors
/// Why not.
pub fn room_made(kernel: &Kernel, pod: &Pod, unplaced: &Unplaced) -> Result<(), String> {
    let priority = |class: u32| kernel.classes.get(&class).map_or(0, |class| class.priority);
    for victim in &unplaced.victims {
        match kernel.pods.get(victim) {
            None => return Err(format!("pod {}: victim {victim} counts nowhere", pod.id)),
            Some(placed) if placed.node != unplaced.nominated => {
                return Err(format!("pod {}: victim {victim} is on another node", pod.id));
            }
            Some(placed) if priority(placed.class) >= priority(pod.class) => {
                return Err(format!("pod {}: victim {victim} is no less important", pod.id));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The taints that keep pods away, with those that a node counts as having.
fn forbidding(kernel: &Kernel, node: &Node) -> Vec<Taint> {
    let own = node
        .taints
        .iter()
        .filter(|taint| taint.effect != Effect::PreferNoSchedule);
    let implied = [
        (node.unschedulable, "node.kubernetes.io/unschedulable"),
        (!node.ready, "node.kubernetes.io/not-ready"),
    ];
    let implied = implied.into_iter().filter(|(is, _)| *is).map(|(_, text)| Taint {
        key: kernel.known(text),
        value: 0,
        effect: Effect::NoSchedule,
    });
    own.cloned().chain(implied).collect()
}

fn tolerated(class: &PodClass, taint: &Taint) -> bool {
    class.tolerations.iter().any(|toleration: &Toleration| {
        let same = [
            toleration.key.is_none_or(|key| key == taint.key),
            toleration.value.is_none_or(|value| value == taint.value),
            toleration.effect.is_none_or(|effect| effect == taint.effect),
        ];
        same == [true; 3]
    })
}

/// Something of which a node has too little for one more pod of a class.
fn short(kernel: &Kernel, node: &Node, class: &PodClass) -> Option<String> {
    let there: Vec<&PodClass> = kernel
        .pods_on(node.id)
        .filter_map(|(_, placed)| kernel.classes.get(&placed.class))
        .collect();
    if there.len() as u32 >= node.pods {
        return Some("room for pods".to_owned());
    }
    let sums = |amounts: &dyn Fn(&PodClass) -> Vec<(String, u64)>| {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (what, amount) in there.iter().flat_map(|class| amounts(class)) {
            *sums.entry(what).or_default() += amount;
        }
        sums
    };
    let amounts = |class: &PodClass| {
        let mut all = vec![
            ("cpu".to_owned(), class.requests.milli_cpu),
            ("memory".to_owned(), class.requests.memory),
            ("ephemeral storage".to_owned(), class.requests.ephemeral_storage),
        ];
        let extended = class.extended.iter();
        all.extend(extended.map(|amount| (kernel.text(amount.name).to_owned(), amount.amount)));
        all
    };
    let mut has: BTreeMap<String, u64> = BTreeMap::from([
        ("cpu".to_owned(), node.allocatable.milli_cpu),
        ("memory".to_owned(), node.allocatable.memory),
        ("ephemeral storage".to_owned(), node.allocatable.ephemeral_storage),
    ]);
    let extended = node.extended.iter();
    has.extend(extended.map(|amount| (kernel.text(amount.name).to_owned(), amount.amount)));
    let used = sums(&amounts);
    let of = |sums: &BTreeMap<String, u64>, what: &str| sums.get(what).copied().unwrap_or(0);
    let asked = amounts(class)
        .into_iter()
        .find(|(what, asked)| *asked > 0 && of(&used, what) + asked > of(&has, what));
    let port = |port: &&HostPort| there.iter().any(|class| class.ports.contains(port));
    let ports = class
        .ports
        .iter()
        .find(port)
        .map(|port| format!("of host port {}", port.port));
    asked.map(|(what, _)| what).or(ports)
}
