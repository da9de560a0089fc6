//! Restart policies, back-off, and what could not be created or started.
use super::*;

/// Crashes the running container and says how long until it is started again.
fn crash(play: &mut Play, code: i32) -> Option<Millis> {
    let died = play.now;
    let mut actions = play.exit(0, code);
    while actions.is_empty() {
        let wake = play.wake_at?;
        play.now = wake;
        actions = play.turn();
    }
    let [Action::Start { index: 0, attempt }] = actions[..] else {
        panic!("{actions:?}")
    };
    let started = play.start_report(0, attempt);
    play.report(started);
    Some(play.now - died)
}

#[test]
fn crashes_back_off_from_ten_seconds_to_five_minutes() {
    let mut play = Play::new(simple("Always"));
    play.settle();
    let waits: Vec<_> = (0..8).map(|_| crash(&mut play, 1).unwrap() / 1000).collect();
    assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    let container = &play.status().container_statuses.unwrap()[0];
    assert_eq!(container.restart_count, 8);
    assert_eq!(
        container
            .last_state
            .as_ref()
            .unwrap()
            .terminated
            .as_ref()
            .unwrap()
            .exit_code,
        1
    );
    // Ten minutes of running are forgiven.
    play.now += 601_000;
    assert_eq!(crash(&mut play, 1), Some(0));
    assert_eq!(crash(&mut play, 1), Some(10_000));
}

#[test]
fn the_back_off_is_shown() {
    let mut play = Play::new(simple("Always"));
    play.settle();
    crash(&mut play, 2);
    play.exit(0, 2);
    let status = play.status();
    assert_eq!(status.phase.as_deref(), Some("Running"));
    let container = &status.container_statuses.unwrap()[0];
    let waiting = container.state.as_ref().unwrap().waiting.clone().unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("CrashLoopBackOff"));
    let message = "back-off 10s restarting failed container=web pod=web_default(u1)";
    assert_eq!(waiting.message.as_deref(), Some(message));
    assert_eq!(
        container
            .last_state
            .as_ref()
            .unwrap()
            .terminated
            .as_ref()
            .unwrap()
            .exit_code,
        2
    );
    assert!(!container.ready);
    assert!(play.said("BackOff: Back-off restarting failed container web in pod web_default(u1)"));
}

#[test]
fn always_restarts_what_ended_well() {
    let mut play = Play::new(simple("Always"));
    play.settle();
    assert_eq!(play.exit(0, 0), [Action::Start { index: 0, attempt: 1 }]);
}

#[test]
fn a_clock_that_is_ahead_holds_nothing_up() {
    let mut play = Play::new(simple("Always"));
    play.settle();
    let Report::Exited { index, attempt, exit } = play.exit_report(0, 1, 0) else {
        unreachable!()
    };
    let finished_at = play.now + 3;
    let exit = Exit { finished_at, ..exit };
    assert_eq!(
        play.report(Report::Exited { index, attempt, exit }),
        [Action::Start { index: 0, attempt: 1 }]
    );
}

#[test]
fn on_failure_restarts_until_it_ends_well() {
    let mut play = Play::new(simple("OnFailure"));
    play.settle();
    assert_eq!(crash(&mut play, 1), Some(0));
    assert_eq!(play.phase(), "Running");
    assert_eq!(play.exit(0, 0), [Action::RemoveSandbox]);
    assert_eq!(play.phase(), "Succeeded");
}

#[test]
fn one_of_two_ended_and_the_other_runs() {
    let mut play = Play::new(json!({"restartPolicy": "Never", "containers": [
        {"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}));
    play.settle();
    assert!(play.exit(0, 5).is_empty());
    assert_eq!(play.phase(), "Running");
    let message = play
        .status()
        .conditions
        .unwrap()
        .into_iter()
        .find(|c| c.type_ == "Ready")
        .unwrap()
        .message;
    assert_eq!(message.as_deref(), Some("containers with unready status: [a]"));
    play.exit(1, 0);
    assert_eq!(play.phase(), "Failed");
}

#[test]
fn out_of_memory_and_signals_are_told_apart() {
    let mut play = Play::new(simple("Never"));
    play.settle();
    let Report::Exited { index, attempt, exit } = play.exit_report(0, 137, 9) else {
        unreachable!()
    };
    play.report(Report::Exited {
        index,
        attempt,
        exit: Exit { oom: true, ..exit },
    });
    let ended = play.status().container_statuses.unwrap()[0]
        .state
        .clone()
        .unwrap()
        .terminated
        .unwrap();
    assert_eq!(
        (ended.exit_code, ended.signal, ended.reason.as_deref()),
        (137, Some(9), Some("OOMKilled"))
    );
}

#[test]
fn what_cannot_be_created_is_tried_again_as_the_same_run() {
    let mut play = Play::new(simple("Always"));
    let reason = "CreateContainerConfigError";
    play.turn();
    play.report(Report::SandboxReady {
        ips: vec!["10.42.0.2".into()],
    });
    let ready = play.image(0);
    play.report(ready);
    let message = || "configmap \"c\" not found".to_owned();
    let failed = |attempt| Report::NotCreated {
        index: 0,
        attempt,
        reason,
        message: message(),
    };
    assert!(play.report(failed(0)).is_empty());
    assert_eq!(play.waits(0), reason);
    assert!(play.said("Failed: Error: configmap \"c\" not found"));
    assert_eq!(play.after(500), [Action::Start { index: 0, attempt: 0 }]);
    play.report(failed(0));
    assert!(play.after(999).is_empty());
    assert_eq!(play.after(1), [Action::Start { index: 0, attempt: 0 }]);
    assert_eq!(play.status().container_statuses.unwrap()[0].restart_count, 0);
}

#[test]
fn what_cannot_be_started_counts_as_a_crash() {
    let mut play = Play::new(simple("Always"));
    play.turn();
    play.report(Report::SandboxReady {
        ips: vec!["10.42.0.2".into()],
    });
    let ready = play.image(0);
    play.report(ready);
    let message = "exec /nope: no such file or directory".to_owned();
    let at = play.now;
    let failed = |attempt| Report::NotStarted {
        index: 0,
        attempt,
        message: message.clone(),
        at,
    };
    assert_eq!(play.report(failed(0)), [Action::Start { index: 0, attempt: 1 }]);
    assert!(play.report(failed(1)).is_empty());
    let container = &play.status().container_statuses.unwrap()[0];
    assert_eq!(
        container.state.clone().unwrap().waiting.unwrap().reason.as_deref(),
        Some("CrashLoopBackOff")
    );
    let ended = container.last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_deref()), (128, Some("StartError")));
}

#[test]
fn policy_always_asks_the_registry_at_each_start() {
    let mut play = Play::new(json!({"containers": [{"name": "web", "image": "web"}]}));
    play.settle();
    assert_eq!(play.exit(0, 0), [Action::EnsureImage { index: 0 }]);
    let ready = play.image(0);
    assert_eq!(play.report(ready), [Action::Start { index: 0, attempt: 1 }]);
}

#[test]
fn reports_of_an_older_run_change_nothing() {
    let mut play = Play::new(simple("Always"));
    play.settle();
    let late = play.exit_report(0, 1, 0);
    assert_eq!(play.exit(0, 0), [Action::Start { index: 0, attempt: 1 }]);
    let started = play.start_report(0, 1);
    play.report(started);
    assert!(play.report(late).is_empty());
    assert!(play.actual.containers[0].state.is_running());
}

#[test]
fn pull_policies_default_as_kubernetes_does() {
    let policy = |container: Value| {
        let container: k8s_openapi::api::core::v1::Container = serde_json::from_value(container).unwrap();
        pull_policy(&container).to_owned()
    };
    let of_image = |image: &str| policy(json!({"name": "c", "image": image}));
    assert_eq!(of_image("nginx"), "Always");
    assert_eq!(of_image("nginx:latest"), "Always");
    assert_eq!(of_image("localhost:5000/nginx"), "Always");
    assert_eq!(of_image("localhost:5000/nginx:1.27"), "IfNotPresent");
    assert_eq!(of_image("nginx@sha256:00"), "IfNotPresent");
    assert_eq!(
        policy(json!({"name": "c", "image": "nginx", "imagePullPolicy": "Never"})),
        "Never"
    );
}
