//! Answers in words: where a pod goes, or why it waits, as the cluster would say it.
use super::world::World;
use crate::policies::scheduling::{mirror::symbols::Symbols, refusal};
use sampan_sandbox::scheduler::{Label, Placement, Refusal, Rule, TurnedDown, Unplaced};

/// Why a pod has no place, and whom room would be made by.
pub fn refusal(placement: &Placement, said: &Unplaced, world: &World) -> String {
    let Some(why) = placement.refusals.get(said.refusal as usize) else {
        return "it gives no reason".to_owned();
    };
    // The words are made from symbols: those that are named here.
    let mut symbols = Symbols::default();
    let of = |symbol: u32, symbols: &mut Symbols| symbols.number(world.text(symbol));
    let rule = |one: &TurnedDown, symbols: &mut Symbols| TurnedDown {
        nodes: one.nodes,
        rule: match one.rule {
            Rule::Taint(taint) => Rule::Taint(Label {
                key: of(taint.key, symbols),
                value: of(taint.value, symbols),
            }),
            Rule::Extended(name) => Rule::Extended(of(name, symbols)),
            other => other,
        },
    };
    let renamed = Refusal {
        nodes: why.nodes,
        turned_down: why.turned_down.iter().map(|one| rule(one, &mut symbols)).collect(),
        for_its_group: why.for_its_group,
    };
    let preemption = refusal::Preemption {
        node: (said.nominated != 0).then(|| world.node_name(said.nominated).to_owned()),
        victims: said.victims.len(),
        never: false,
    };
    refusal::text(&renamed, &preemption, &symbols)
}
