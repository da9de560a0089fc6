//! A leader that stands still for a while, is cut off, is not heard, or does not hear.
use crate::{group::play, killing::HELD_UP, load::Load};
use std::time::{Duration, Instant};

/// So long it lasts; longer than any election.
const LASTS: Duration = Duration::from_secs(3);

#[test]
fn a_leader_that_is_stopped_or_cut_off_comes_back_and_nothing_is_lost() {
    play(None, async |group| {
        let load = Load::start(group).await;
        for what in ["stopped", "cut off", "not heard", "deaf"] {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let leader = group.leader().await;
            let others = [(leader + 1) % 3, (leader + 2) % 3];
            let at = Instant::now();
            match what {
                "stopped" => group.pause(leader),
                "cut off" => group.network.cut(leader),
                "not heard" => others.iter().for_each(|other| group.network.block(leader, *other)),
                _ => others.iter().for_each(|other| group.network.block(*other, leader)),
            }
            let held = load.resumed(at).await;
            println!("leader s{leader} {what}: the next write done after {held:?}");
            assert!(held < HELD_UP);
            tokio::time::sleep(LASTS.saturating_sub(at.elapsed())).await;
            match what {
                "stopped" => group.go_on(leader),
                "cut off" => group.network.mend(leader),
                "not heard" => others.iter().for_each(|other| group.network.unblock(leader, *other)),
                _ => others.iter().for_each(|other| group.network.unblock(*other, leader)),
            }
            let healed = Instant::now();
            group.settled().await;
            println!("all there again after {:?}", healed.elapsed());
        }
        load.end(group).await;
    });
}
