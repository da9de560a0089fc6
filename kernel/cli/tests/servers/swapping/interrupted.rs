//! A swap of network plugins in the middle of which agents are killed, and a slot from which who decides is taken away.
use super::{HUB, NODES, component, load_hub, peers, play_under_load, straight, through_hub};
use crate::{nodes::until, steady::Steady};
use std::time::Duration;

/// So long after a swap an agent is killed: before it knows of it, while the new ways are made, and before the old ones end.
const INTO_IT: [Duration; 3] = [Duration::ZERO, Duration::from_millis(400), Duration::from_millis(2500)];

#[test]
fn agents_that_are_killed_in_a_swap_end_where_the_others_are() {
    play_under_load(async |group, _, load| {
        load_hub(group);
        for (into_it, killed) in INTO_IT.into_iter().zip([NODES[0], HUB, NODES[1]]) {
            for (plugin, by_hub) in [("hub-and-spoke", true), ("routes", false)] {
                group.ok(0, &format!("plugin activate {plugin}"));
                tokio::time::sleep(into_it).await;
                group.kill(killed);
                group.start_node(killed).await;
                match by_hub {
                    true => through_hub(group).await,
                    false => straight(group).await,
                }
                println!(
                    "n{killed} was killed {into_it:?} into it: the flow goes on after {:?}",
                    load.flow.goes_on(plugin)
                );
            }
        }
        // Where the one that decides is taken away the one before takes its place.
        group.ok(0, "plugin activate hub-and-spoke");
        through_hub(group).await;
        group.ok(0, "plugin remove hub-and-spoke --force");
        straight(group).await;
        load.flow.goes_on("by the one before");
        // Where there is none, nobody reaches anybody, until another is there.
        group.ok(0, "plugin remove routes --force");
        for host in NODES {
            until(group, "nobody is a peer", || peers(group, host).is_empty()).await;
        }
        let file = component(group, sampan_builtin::PLUGINS, "routes");
        group.ok(0, &format!("plugin load {file} --name mesh --slot routes --activate"));
        straight(group).await;
        load.flow.goes_on("by another");
        // What was on the way when an agent died is lost; nothing is from now on.
        load.requests.iter().for_each(Steady::anew);
        tokio::time::sleep(Duration::from_secs(2)).await;
        load.end();
    });
}
