//! What the committer would say of a binding, and whether those who are to go may be made to.
use super::world::{Asked, World};
use crate::policies::scheduling::mirror::nodes;
use sampan_sandbox::scheduler::{Amount, Effect, Node, Pod, PodClass, Taint, Unplaced};

/// Whether a pod may be bound to a node, by what the committer looks at: the node is there, the pod tolerates its taints, and
/// there is room. In words what is against it.
pub fn bind(world: &World, class: &PodClass, node: u32, asked: &Asked) -> Result<(), String> {
    let Some(node) = world.node(node) else {
        return Err("the node is not there".to_owned());
    };
    if let Some(taint) = taints(world, node).find(|taint| !tolerates(class, taint)) {
        return Err(format!(
            "{} has the taint {}",
            world.text(node.name),
            world.text(taint.key)
        ));
    }
    let mut after = asked.clone();
    after.add(class);
    let all = node.allocatable;
    let extended = |name: u32| {
        node.extended
            .iter()
            .find(|one| one.name == name)
            .map_or(0, |one| one.amount)
    };
    let short = [
        ("cpu", after.milli_cpu > all.milli_cpu && class.requests.milli_cpu > 0),
        ("memory", after.memory > all.memory && class.requests.memory > 0),
        (
            "ephemeral-storage",
            after.ephemeral_storage > all.ephemeral_storage && class.requests.ephemeral_storage > 0,
        ),
        ("pods", after.pods > node.pods),
    ];
    if let Some((what, _)) = short.into_iter().find(|(_, short)| *short) {
        return Err(format!("{} has too little {what}", world.text(node.name)));
    }
    let lacks = |one: &&Amount| after.extended.get(&one.name).copied().unwrap_or_default() > extended(one.name);
    match class.extended.iter().filter(|one| one.amount > 0).find(lacks) {
        Some(one) => Err(format!(
            "{} has too little {}",
            world.text(node.name),
            world.text(one.name)
        )),
        None => Ok(()),
    }
}

/// The taints that keep pods away, with those that a node counts as having.
fn taints(world: &World, node: &Node) -> impl Iterator<Item = Taint> {
    let own = node
        .taints
        .iter()
        .filter(|taint| taint.effect != Effect::PreferNoSchedule);
    let implied = [(node.unschedulable, nodes::CORDON), (!node.ready, nodes::NOT_READY)];
    let implied = implied.into_iter().filter(|(has, _)| *has).map(|(_, key)| Taint {
        key: world.symbol(key).unwrap_or(u32::MAX),
        value: 0,
        effect: Effect::NoSchedule,
    });
    own.copied().chain(implied)
}

fn tolerates(class: &PodClass, taint: &Taint) -> bool {
    class.tolerations.iter().any(|one| {
        one.key.is_none_or(|key| key == taint.key)
            && one.value.is_none_or(|value| value == taint.value)
            && one.effect.is_none_or(|effect| effect == taint.effect)
    })
}

/// Whether victims are such as may go for a pod: on the node that is named, and less important. In words what is wrong.
pub fn victims(world: &World, pod: &Pod, said: &Unplaced) -> Result<(), String> {
    if said.nominated != 0 && world.node(said.nominated).is_none() {
        return Err(format!("it chose node number {}, which does not exist", said.nominated));
    }
    let Some(class) = world.class(pod.class) else {
        return Ok(());
    };
    if !class.may_preempt && !said.victims.is_empty() {
        return Err(format!(
            "it makes room for pod number {}, which must not preempt",
            pod.id
        ));
    }
    for id in &said.victims {
        let Some(victim) = world.bound(*id).filter(|victim| victim.node == said.nominated) else {
            return Err(format!("it sends away pod number {id}, which is not on that node"));
        };
        let priority = world.class(victim.class).map_or(0, |class| class.priority);
        if priority >= class.priority {
            return Err(format!("it sends away pod number {id}, which is no less important"));
        }
    }
    Ok(())
}
