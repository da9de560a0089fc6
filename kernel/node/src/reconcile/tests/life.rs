//! From pending to running to the end, with init containers and sidecars.
use super::*;

#[test]
fn image_and_sandbox_come_at_once_then_the_container() {
    let mut play = Play::new(simple("Always"));
    assert_eq!(play.phase(), "Pending");
    assert_eq!(play.waits(0), "ContainerCreating");
    assert_eq!(play.turn(), [Action::CreateSandbox, Action::EnsureImage { index: 0 }]);
    assert!(play.turn().is_empty(), "what is under way is not begun again");
    assert!(
        play.report(Report::SandboxReady {
            ips: vec!["10.42.0.2".into()]
        })
        .is_empty()
    );
    let ready = play.image(0);
    assert_eq!(play.report(ready), [Action::Start { index: 0, attempt: 0 }]);
    let started = play.start_report(0, 0);
    assert!(play.report(started).is_empty());
    let status = play.status();
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.42.0.2"));
    assert_eq!(status.host_ip.as_deref(), Some("192.0.2.1"));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    let container = &status.container_statuses.unwrap()[0];
    assert!(container.ready && container.started == Some(true) && container.restart_count == 0);
    assert_eq!(container.image_id, "web:1@sha256:0");
    assert_eq!(container.container_id.as_deref(), Some("sampan://u1/0-0"));
    for name in ["PodScheduled", "Initialized", "ContainersReady", "Ready"] {
        assert!(play.condition(name), "{name}");
    }
    for event in [
        "Pulled: Container image \"web:1\" already present",
        "Created: Created container web",
        "Started: Started",
    ] {
        assert!(play.said(event), "{event}");
    }
}

#[test]
fn a_job_succeeds_or_fails_and_its_sandbox_goes() {
    for (code, phase, reason) in [(0, "Succeeded", "Completed"), (3, "Failed", "Error")] {
        let mut play = Play::new(simple("Never"));
        play.settle();
        play.now += 1500;
        assert_eq!(play.exit(0, code), [Action::RemoveSandbox]);
        play.report(Report::SandboxRemoved);
        let status = play.status();
        assert_eq!(status.phase.as_deref(), Some(phase));
        let ended = status.container_statuses.unwrap()[0]
            .state
            .clone()
            .unwrap()
            .terminated
            .unwrap();
        assert_eq!((ended.exit_code, ended.reason.as_deref()), (code, Some(reason)));
        assert!(ended.finished_at > ended.started_at);
        assert!(!play.condition("Ready"));
        assert!(play.after(3_600_000).is_empty(), "it is not run again");
        assert_eq!(play.delete(30), [Action::Forget]);
        assert!(play.turn().is_empty());
    }
}

#[test]
fn the_condition_keeps_its_time_until_it_changes() {
    let mut play = Play::new(simple("Always"));
    let time = |status: PodStatus, name: &str| {
        status
            .conditions
            .unwrap()
            .into_iter()
            .find(|c| c.type_ == name)
            .unwrap()
            .last_transition_time
            .unwrap()
    };
    let before = time(play.status(), "Ready");
    play.now += 5000;
    assert_eq!(time(play.status(), "Ready"), before);
    play.settle();
    assert!(time(play.status(), "Ready") > before);
}

fn with_init() -> Value {
    json!({"restartPolicy": "Always",
        "initContainers": [{"name": "one", "image": "i:1"}, {"name": "two", "image": "i:1"}],
        "containers": [{"name": "web", "image": "web:1"}]})
}

#[test]
fn init_containers_run_in_order() {
    let mut play = Play::new(with_init());
    play.settle();
    assert!(play.actual.containers[0].state.is_running() && !play.actual.containers[1].state.is_running());
    assert_eq!(
        (play.phase().as_str(), play.waits(2).as_str()),
        ("Pending", "PodInitializing")
    );
    assert!(!play.condition("Initialized"));
    assert_eq!(play.exit(0, 0), [Action::Start { index: 1, attempt: 0 }]);
    let started = play.start_report(1, 0);
    play.report(started);
    assert_eq!(play.exit(1, 0), [Action::Start { index: 2, attempt: 0 }]);
    assert!(play.condition("Initialized"));
    let started = play.start_report(2, 0);
    play.report(started);
    assert_eq!(play.phase(), "Running");
    let status = play.status();
    assert!(status.init_container_statuses.unwrap().iter().all(|c| c.ready));
}

#[test]
fn a_failing_init_container_is_tried_again_or_fails_the_pod() {
    let mut play = Play::new(with_init());
    play.settle();
    assert_eq!(play.exit(0, 1), [Action::Start { index: 0, attempt: 1 }]);
    let started = play.start_report(0, 1);
    play.report(started);
    assert!(play.exit(0, 1).is_empty());
    assert_eq!(play.waits(0), "CrashLoopBackOff");
    assert_eq!(play.phase(), "Pending");

    let mut spec = with_init();
    spec["restartPolicy"] = json!("Never");
    let mut play = Play::new(spec);
    play.settle();
    assert_eq!(play.exit(0, 1), [Action::RemoveSandbox]);
    assert_eq!(play.phase(), "Failed");
}

fn with_sidecar(restart: &str) -> Value {
    json!({"restartPolicy": restart,
        "initContainers": [{"name": "proxy", "image": "p:1", "restartPolicy": "Always"}, {"name": "init", "image": "i:1"}],
        "containers": [{"name": "web", "image": "web:1"}]})
}

#[test]
fn a_sidecar_runs_beside_and_ends_last() {
    let mut play = Play::new(with_sidecar("Never"));
    play.settle();
    assert!(play.actual.containers[0].state.is_running());
    assert!(
        play.actual.containers[1].state.is_running(),
        "the sidecar does not hold up the next"
    );
    assert_eq!(play.exit(1, 0), [Action::Start { index: 2, attempt: 0 }]);
    let started = play.start_report(2, 0);
    play.report(started);
    // It restarts whatever the pod's policy.
    assert_eq!(play.exit(0, 1), [Action::Start { index: 0, attempt: 1 }]);
    let started = play.start_report(0, 1);
    play.report(started);
    assert_eq!(play.exit(2, 0), [Action::Stop { index: 0 }]);
    assert_eq!(play.phase(), "Running");
    assert_eq!(play.exit(0, 143), [Action::RemoveSandbox]);
    play.report(Report::SandboxRemoved);
    assert_eq!(play.phase(), "Succeeded");
}

#[test]
fn image_trouble_is_shown_and_backs_off() {
    let mut play = Play::new(simple("Always"));
    play.turn();
    play.report(Report::SandboxReady {
        ips: vec!["10.42.0.2".into()],
    });
    play.report(Report::Pulling { index: 0 });
    let failed = || Report::ImageFailed {
        index: 0,
        reason: "ErrImagePull",
        message: "no such image".into(),
    };
    assert!(play.report(failed()).is_empty());
    assert_eq!(play.waits(0), "ErrImagePull");
    assert!(play.after(2000).is_empty());
    assert_eq!(play.waits(0), "ImagePullBackOff");
    assert!(play.said("BackOff: Back-off pulling image \"web:1\""));
    assert!(play.after(7_999).is_empty());
    assert_eq!(play.after(1), [Action::EnsureImage { index: 0 }]);
    play.report(failed());
    assert_eq!(play.waits(0), "ErrImagePull");
    assert!(play.after(19_999).is_empty());
    assert_eq!(play.after(1), [Action::EnsureImage { index: 0 }]);
    let ready = play.image(0);
    assert_eq!(play.report(ready), [Action::Start { index: 0, attempt: 0 }]);
}

#[test]
fn a_sandbox_that_fails_is_tried_again() {
    let mut play = Play::new(simple("Always"));
    play.turn();
    assert!(
        play.report(Report::SandboxFailed {
            message: "no address".into()
        })
        .is_empty()
    );
    assert!(play.said("FailedCreatePodSandBox: Failed to create pod sandbox: no address"));
    assert_eq!(play.wake_at, Some(play.now + 500));
    assert_eq!(play.after(500), [Action::CreateSandbox]);
    let waiting = play.status().container_statuses.unwrap()[0]
        .state
        .clone()
        .unwrap()
        .waiting
        .unwrap();
    assert!(waiting.message.unwrap().contains("no address"));
}

#[test]
fn a_lost_shim_starts_the_pod_anew() {
    let mut play = Play::new(with_init());
    play.settle();
    play.exit(0, 0);
    let started = play.start_report(1, 0);
    play.report(started);
    play.exit(1, 0);
    let started = play.start_report(2, 0);
    play.report(started);
    assert_eq!(play.report(Report::SandboxLost), [Action::CreateSandbox]);
    let again = play.report(Report::SandboxReady {
        ips: vec!["10.42.0.3".into()],
    });
    assert_eq!(
        again,
        [Action::Start { index: 0, attempt: 1 }],
        "init containers come first again"
    );
    assert!(play.said("SandboxChanged"));
}

#[test]
fn what_was_written_is_remembered() {
    let mut play = Play::new(simple("Always"));
    play.settle();
    play.exit(0, 1);
    let started = play.start_report(0, 1);
    play.report(started);
    let written = play.status();
    let survivor = |attempt, exit| Survivor {
        index: 0,
        attempt,
        container_id: format!("sampan://u1/0-{attempt}"),
        started_at: play.now,
        exit,
    };
    let run = |survivors: Option<Vec<_>>| {
        let lives = survivors.is_some();
        recall(
            &play.desired,
            &written,
            survivors.unwrap_or_default(),
            lives,
            play.now + 1000,
        )
    };

    let adopted = run(Some(vec![survivor(0, Some(Exit::default())), survivor(1, None)]));
    assert_eq!(adopted.sandbox, Sandbox::Ready);
    assert!(adopted.containers[0].state.is_running() && adopted.containers[0].ready);
    assert_eq!((adopted.containers[0].attempt, adopted.ip().as_str()), (1, "10.42.0.2"));
    assert_eq!(adopted.containers[0].last.as_ref().unwrap().code, 1);

    let exited = run(Some(vec![survivor(
        1,
        Some(Exit {
            code: 7,
            ..Exit::default()
        }),
    )]));
    assert_eq!(exited.containers[0].state.ended().unwrap().code, 7);

    // The shim is gone, or the node was rebooted.
    let mut lost = run(None);
    assert_eq!(
        lost.containers[0].state.ended().unwrap().reason,
        "ContainerStatusUnknown"
    );
    let step = reconcile(&play.desired, &mut lost, play.now + 11_000);
    assert!(step.actions.contains(&Action::CreateSandbox), "{step:?}");
}

#[test]
fn a_finished_pod_is_not_run_again_by_a_new_agent() {
    let mut play = Play::new(simple("Never"));
    play.settle();
    play.exit(0, 0);
    play.report(Report::SandboxRemoved);
    let written = play.status();
    let mut again = recall(&play.desired, &written, Vec::new(), false, play.now);
    let actions = reconcile(&play.desired, &mut again, play.now).actions;
    assert_eq!(actions, [Action::RemoveSandbox], "what may be left is cleared away");
    let shown = status(
        &play.desired,
        &mut again,
        &NodeFacts {
            addresses: vec!["192.0.2.1".into()],
        },
        play.now,
    );
    assert_eq!(shown, play.status());
}

#[test]
fn a_pod_that_never_restarts_fails_with_the_node() {
    let mut play = Play::new(simple("Never"));
    play.settle();
    let written = play.status();
    play.actual = recall(&play.desired, &written, Vec::new(), false, play.now);
    assert_eq!(play.turn(), [Action::RemoveSandbox]);
    assert_eq!(play.phase(), "Failed");
}
