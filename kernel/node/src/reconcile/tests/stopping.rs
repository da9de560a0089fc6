//! Deletion, grace, deadlines, and letting go of a node's pods.
use super::*;

#[test]
fn deletion_stops_then_kills_then_forgets() {
    let mut play = Play::new(simple("Always"));
    play.settle();
    assert_eq!(play.delete(30), [Action::Stop { index: 0 }]);
    assert!(play.said("Killing: Stopping container web"));
    assert!(play.turn().is_empty());
    assert_eq!(play.wake_at, Some(play.now + 30_000));
    assert!(play.after(29_999).is_empty());
    assert_eq!(play.after(1), [Action::Kill { index: 0 }]);
    assert!(play.turn().is_empty());
    assert_eq!(play.exit(0, 137), [Action::RemoveSandbox]);
    assert_eq!(play.phase(), "Failed");
    assert_eq!(play.report(Report::SandboxRemoved), [Action::Forget]);
    assert!(play.after(100_000).is_empty());
}

#[test]
fn what_ends_within_its_grace_is_not_killed() {
    let mut play = Play::new(simple("Always"));
    play.settle();
    play.delete(30);
    assert_eq!(play.exit(0, 0), [Action::RemoveSandbox]);
    assert_eq!(play.phase(), "Succeeded");
}

#[test]
fn a_second_deletion_can_only_shorten() {
    let mut play = Play::new(simple("Always"));
    play.settle();
    play.delete(30);
    play.now += 1000;
    assert!(play.delete(60).is_empty());
    assert_eq!(play.wake_at, Some(play.now + 29_000));
    assert!(play.delete(2).is_empty());
    assert_eq!(play.after(2000), [Action::Kill { index: 0 }]);
}

#[test]
fn no_grace_is_a_kill_at_once() {
    let mut play = Play::new(simple("Always"));
    play.settle();
    assert_eq!(play.delete(0), [Action::Kill { index: 0 }]);

    let mut play = Play::new(simple("Always"));
    play.settle();
    play.desired.deletion = Deletion::Gone;
    assert_eq!(play.turn(), [Action::Kill { index: 0 }]);
}

#[test]
fn deleted_before_anything_was_there() {
    let mut play = Play::new(simple("Always"));
    assert_eq!(play.delete(30), [Action::Forget]);
}

#[test]
fn deleted_while_the_sandbox_is_made() {
    let mut play = Play::new(simple("Always"));
    play.turn();
    assert!(play.delete(30).is_empty(), "what is under way is waited for");
    assert_eq!(
        play.report(Report::SandboxReady {
            ips: vec!["10.42.0.2".into()]
        }),
        [Action::RemoveSandbox]
    );
    assert_eq!(play.report(Report::SandboxRemoved), [Action::Forget]);
}

#[test]
fn deleted_while_the_container_is_started() {
    let mut play = Play::new(simple("Always"));
    play.turn();
    play.report(Report::SandboxReady {
        ips: vec!["10.42.0.2".into()],
    });
    let ready = play.image(0);
    play.report(ready);
    assert!(play.delete(30).is_empty());
    let started = play.start_report(0, 0);
    assert_eq!(play.report(started), [Action::Stop { index: 0 }]);
}

#[test]
fn what_will_not_die_is_cleared_away_with_its_sandbox() {
    let mut play = Play::new(simple("Always"));
    play.settle();
    play.delete(1);
    assert_eq!(play.after(1000), [Action::Kill { index: 0 }]);
    assert_eq!(play.after(5000), [Action::RemoveSandbox]);
    assert_eq!(play.report(Report::SandboxRemoved), [Action::Forget]);
}

#[test]
fn a_crash_while_stopping_is_not_restarted() {
    let mut play = Play::new(json!({"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}));
    play.settle();
    assert_eq!(play.delete(30), [Action::Stop { index: 0 }, Action::Stop { index: 1 }]);
    assert!(play.exit(0, 1).is_empty());
    assert_eq!(play.exit(1, 0), [Action::RemoveSandbox]);
}

#[test]
fn sidecars_are_stopped_after_the_others() {
    let mut play = Play::new(json!({
        "initContainers": [{"name": "proxy", "image": "p:1", "restartPolicy": "Always"}],
        "containers": [{"name": "web", "image": "web:1"}]}));
    play.settle();
    assert_eq!(play.delete(30), [Action::Stop { index: 1 }]);
    assert_eq!(play.exit(1, 0), [Action::Stop { index: 0 }]);
    assert_eq!(play.exit(0, 0), [Action::RemoveSandbox]);
}

#[test]
fn an_active_deadline_fails_the_pod() {
    let mut spec = simple("Always");
    spec["activeDeadlineSeconds"] = json!(60);
    let mut play = Play::new(spec);
    play.settle();
    assert_eq!(play.wake_at, Some(play.now + 60_000));
    assert_eq!(play.after(60_000), [Action::Stop { index: 0 }]);
    assert_eq!(play.exit(0, 143), [Action::RemoveSandbox]);
    assert!(play.report(Report::SandboxRemoved).is_empty());
    let status = play.status();
    assert_eq!(
        (status.phase.as_deref(), status.reason.as_deref()),
        (Some("Failed"), Some("DeadlineExceeded"))
    );
}

#[test]
fn a_node_that_shuts_down_lets_go_of_its_pods() {
    let mut play = Play::new(simple("Always"));
    play.settle();
    play.actual.let_go(2000, play.now);
    assert_eq!(play.turn(), [Action::Stop { index: 0 }]);
    assert_eq!(play.after(2000), [Action::Kill { index: 0 }]);
    assert_eq!(play.exit(0, 137), [Action::RemoveSandbox]);
    assert_eq!(play.report(Report::SandboxRemoved), [Action::Forget]);
}

#[test]
fn a_lost_shim_of_a_deleted_pod_is_still_cleared_away() {
    let mut play = Play::new(simple("Always"));
    play.settle();
    play.delete(30);
    assert_eq!(play.report(Report::SandboxLost), [Action::RemoveSandbox]);
}
