//! kill -9 of leaders and followers, again and again.
use crate::{group::play, load::Load};
use std::time::{Duration, Instant};

const ROUNDS: usize = 6;
/// A leader's death holds up writes for no longer, on a machine that has time for us. What is wanted is 2 s.
pub const HELD_UP: Duration = Duration::from_secs(10);

#[test]
fn any_server_is_killed_again_and_again_and_nothing_is_lost() {
    play(None, async |group| {
        let load = Load::start(group).await;
        for round in 0..ROUNDS {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let leader = group.leader().await;
            let leads = round % 2 == 0;
            let victim = if leads {
                leader
            } else {
                (leader + 1 + round / 2 % 2) % 3
            };
            let at = Instant::now();
            group.kill(victim);
            let held = load.resumed(at).await;
            let what = if leads { "leader" } else { "follower" };
            println!("round {round}: {what} s{victim} killed, the next write done after {held:?}");
            assert!(held < HELD_UP);
            group.start(victim).await;
            group.settled().await;
        }
        load.end(group).await;
    });
}
