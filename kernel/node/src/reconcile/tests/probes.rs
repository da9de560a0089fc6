//! Probes: when they are asked, and what follows.
use super::*;

fn probed(field: &str, probe: Value) -> Play {
    let mut container = json!({"name": "web", "image": "web:1"});
    container[field] = probe;
    let mut play = Play::new(json!({"containers": [container]}));
    play.turn();
    play.report(Report::SandboxReady {
        ips: vec!["10.42.0.2".into()],
    });
    let ready = play.image(0);
    play.report(ready);
    play
}

fn run(play: &mut Play) -> Vec<Action> {
    let started = play.start_report(0, 0);
    play.report(started)
}

fn answer(play: &mut Play, kind: ProbeKind, good: bool) -> Vec<Action> {
    let result = if good {
        Ok(())
    } else {
        Err("connection refused".to_owned())
    };
    play.report(Report::Probed {
        index: 0,
        kind,
        attempt: 0,
        result,
    })
}

const HTTP: &str = r#"{"httpGet": {"path": "/", "port": 80}}"#;

fn http() -> Value {
    serde_json::from_str(HTTP).unwrap()
}

#[test]
fn readiness_is_asked_at_once_and_quickly_until_first_seen() {
    let mut play = probed("readinessProbe", http());
    let ask = [Action::Probe {
        index: 0,
        kind: ProbeKind::Readiness,
        attempt: 0,
    }];
    assert_eq!(run(&mut play), ask);
    assert!(!play.condition("Ready"));
    assert!(answer(&mut play, ProbeKind::Readiness, false).is_empty());
    assert_eq!(play.wake_at, Some(play.now + 100));
    assert_eq!(play.after(100), ask);
    answer(&mut play, ProbeKind::Readiness, false);
    assert_eq!(play.wake_at, Some(play.now + 200));
    assert!(!play.said("Unhealthy"), "quick tries are no news");
    assert_eq!(play.after(200), ask);
    answer(&mut play, ProbeKind::Readiness, true);
    assert!(play.condition("Ready"));
    assert_eq!(play.wake_at, Some(play.now + 10_000));
    // Three failures make it unready again, and say so.
    for n in 1..=3 {
        assert_eq!(play.after(10_000), ask);
        answer(&mut play, ProbeKind::Readiness, false);
        assert_eq!(play.condition("Ready"), n < 3);
    }
    assert!(play.said("Unhealthy: Readiness probe failed: connection refused"));
    assert!(play.actual.containers[0].state.is_running());
}

#[test]
fn a_failing_liveness_probe_restarts_the_container() {
    let mut play = probed(
        "livenessProbe",
        json!({"tcpSocket": {"port": 80}, "periodSeconds": 5, "initialDelaySeconds": 3}),
    );
    assert!(run(&mut play).is_empty());
    assert!(play.condition("Ready"));
    assert_eq!(play.wake_at, Some(play.now + 3000));
    let ask = [Action::Probe {
        index: 0,
        kind: ProbeKind::Liveness,
        attempt: 0,
    }];
    assert_eq!(play.after(3000), ask);
    assert!(answer(&mut play, ProbeKind::Liveness, false).is_empty());
    assert_eq!(play.after(5000), ask);
    assert!(answer(&mut play, ProbeKind::Liveness, false).is_empty());
    assert_eq!(play.after(5000), ask);
    assert_eq!(
        answer(&mut play, ProbeKind::Liveness, false),
        [Action::Stop { index: 0 }]
    );
    assert!(play.said("Killing: Container web failed liveness probe, will be restarted"));
    assert_eq!(play.after(30_000), [Action::Kill { index: 0 }]);
    assert_eq!(play.exit(0, 137), [Action::Start { index: 0, attempt: 1 }]);
}

#[test]
fn nothing_else_is_asked_before_the_startup_probe_has_succeeded() {
    let mut play = probed(
        "startupProbe",
        json!({"tcpSocket": {"port": 80}, "periodSeconds": 1, "failureThreshold": 30}),
    );
    assert_eq!(
        run(&mut play),
        [Action::Probe {
            index: 0,
            kind: ProbeKind::Startup,
            attempt: 0
        }]
    );
    assert_eq!(play.status().container_statuses.unwrap()[0].started, Some(false));
    assert!(!play.condition("Ready"));
    answer(&mut play, ProbeKind::Startup, true);
    assert!(play.condition("Ready"));
    assert!(play.after(60_000).is_empty(), "it is not asked again");
}

#[test]
fn a_startup_probe_that_never_succeeds_ends_the_container() {
    let mut play = probed(
        "startupProbe",
        json!({"tcpSocket": {"port": 80}, "periodSeconds": 1, "failureThreshold": 3}),
    );
    let start = play.now;
    run(&mut play);
    let mut actions = answer(&mut play, ProbeKind::Startup, false);
    while actions.is_empty() {
        play.now = play.wake_at.unwrap();
        let asked = play.turn();
        assert!(matches!(asked[..], [Action::Probe { .. }]), "{asked:?}");
        actions = answer(&mut play, ProbeKind::Startup, false);
    }
    assert_eq!(actions, [Action::Stop { index: 0 }]);
    let took = play.now - start;
    assert!((3000..6000).contains(&took), "{took} ms");
}

#[test]
fn several_successes_may_be_asked_for() {
    let mut play = probed(
        "readinessProbe",
        json!({"tcpSocket": {"port": 80}, "successThreshold": 2}),
    );
    run(&mut play);
    answer(&mut play, ProbeKind::Readiness, true);
    assert!(!play.condition("Ready"));
    play.now = play.wake_at.unwrap();
    play.turn();
    answer(&mut play, ProbeKind::Readiness, true);
    assert!(play.condition("Ready"));
}
