//! History as an input: a slot's decisions recorded, replayed byte for byte, held against other policies; and a snapshot's pods
//! placed anew.
use crate::stage::{PATIENCE, Stage, sampan};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

/// Small nodes in two zones, and a large one; no agent is behind them.
fn nodes(stage: &Stage) {
    for (name, zone) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("big", "b")] {
        let node = format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{topology.kubernetes.io/zone: {zone}}}}}\n"
        );
        let made = stage.feed("create -f -", &node);
        assert_eq!(made.code, 0, "{made:?}");
    }
    ready(stage);
}

/// They say that they are ready; without an agent they are taken for lost after a while.
fn ready(stage: &Stage) {
    for (name, cpu) in [("a1", 4), ("a2", 4), ("b1", 4), ("big", 16)] {
        let status = format!(
            "{{\"status\":{{\"allocatable\":{{\"cpu\":\"{cpu}\",\"memory\":\"64Gi\",\"pods\":\"110\"}},\
             \"conditions\":[{{\"type\":\"Ready\",\"status\":\"True\"}}]}}}}"
        );
        stage.ok(&format!(
            "patch node {name} --subresource status --type merge -p {status}"
        ));
    }
}

/// Pods that ask for something each, in one go.
fn pods(stage: &Stage, prefix: &str, count: usize) {
    let pod = |n: usize| {
        let milli = 100 + 50 * (n % 5);
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {prefix}-{n:02}}}\nspec:\n  containers:\n  - {{name: c, image: i, \
             resources: {{requests: {{cpu: {milli}m, memory: 64Mi}}}}}}\n---\n"
        )
    };
    let all: String = (0..count).map(pod).collect();
    let made = stage.feed("create -f -", &all);
    assert_eq!(made.code, 0, "{made:?}");
}

/// Until the policy is compiled the built-in placing decides, and nobody explains.
fn until_decides(stage: &Stage) {
    pods(stage, "probe", 1);
    stage.until("explain pod probe-00 --scheduling", |said| {
        said.contains("policy scheduler")
    });
}

/// Begins a recording; it is under way when this returns.
fn begin(stage: &Stage, args: &str) -> Child {
    let mut command = sampan(stage.dir.path());
    command.args(["plugin", "record", "-v"]).args(args.split_whitespace());
    command.env("RUST_LOG", "sampan_cli=info");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let begun = lines.any(|line| line.unwrap_or_default().contains("the recording begins"));
    assert!(begun, "it ends before it begins");
    child
}

/// What a recording says at its end.
fn end(mut child: Child) -> String {
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    said
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_recording_replays_byte_for_byte_and_another_policy_differs() {
    let stage = Stage::new();
    nodes(&stage);
    until_decides(&stage);
    let file = stage.dir.path().join("run.rec").display().to_string();
    let recording = begin(&stage, &format!("--count 30 -f {file}"));
    ready(&stage);
    pods(&stage, "first", 10);
    stage.ok("delete pod first-03 --grace-period=0 --force");
    stage.ok("cordon a1");
    pods(&stage, "second", 20);
    let said = end(recording);
    assert!(said.contains("30 decisions of default-scheduler"), "{said}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(
        stage
            .refused(&format!("plugin record -f {file}"))
            .contains("is there already")
    );

    // The same policy: by its name, and by nothing else than the file.
    let same = stage.ok(&format!("plugin replay scheduler --from {file} --check"));
    assert!(
        same.contains("scheduler: 30 decisions, all the same, byte for byte"),
        "{same}"
    );
    let other = stage.run(&format!("plugin replay binpack --from {file} --check -o wide"));
    assert_eq!(other.code, 1, "{other:?}");
    assert!(
        other.out.contains("of them not as recorded") && other.out.contains("default/first-0"),
        "{other:?}"
    );
    let both = json(&stage.ok(&format!(
        "plugin replay scheduler --against binpack --from {file} -o json"
    )));
    assert_eq!(both["replayed"][0]["allTheSame"], true);
    assert_eq!(both["replayed"][1]["allTheSame"], false);
    assert_eq!(both["recording"]["header"]["policy"], "scheduler");
    let figures = both["placedAnew"]["figures"].as_array().unwrap();
    let deviation = |one: &Value| one["cpu"]["deviation"].as_f64().unwrap();
    assert!(deviation(&figures[2]) > 2.0 * deviation(&figures[1]), "{both}");
    // Twenty-nine are there at the end.
    assert_eq!(both["placedAnew"]["pods"], 29, "{both}");
    damaged(&stage, &file);
}

/// What was cut or changed is known before anything of it is used.
fn damaged(stage: &Stage, file: &str) {
    let good = fs::read(file).unwrap();
    let place = good.windows(8).position(|part| part == b"\"place\":").unwrap();
    let mut changed = good.clone();
    changed[place + 30] ^= 1;
    let newer = String::from_utf8(good.clone())
        .unwrap()
        .replacen("\"version\":1", "\"version\":7", 1);
    let last = good[..good.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    for (name, bytes, words) in [
        ("short.rec", &good[..good.len() - 20], "it is cut short"),
        (
            "no-end.rec",
            &good[..last + 1],
            "its last line does not say that it is the end",
        ),
        ("changed.rec", &changed, "it was changed"),
        (
            "newer.rec",
            newer.as_bytes(),
            "version 7, and this build knows version 1",
        ),
        ("other.rec", b"PK\x03\x04", "is neither a snapshot nor a recording"),
    ] {
        let path = stage.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let refused = stage.refused(&format!("plugin replay scheduler --from {}", path.display()));
        assert!(refused.contains(words) && refused.contains(name), "{name}: {refused}");
    }
    let refused = stage.refused(&format!("plugin replay none.wasm --from {file}"));
    assert!(
        refused.contains("neither a policy's file nor one of scheduler, spread, binpack"),
        "{refused}"
    );
}

/// Pods come and go until the shadow has put one elsewhere. It is compiled before, by a child that gives way to everybody;
/// meanwhile the nodes must not become full.
fn until_told_apart(stage: &Stage) {
    let end = Instant::now() + PATIENCE;
    for wave in 0.. {
        ready(stage);
        pods(stage, &format!("more{wave}"), 4);
        let diff = json(&stage.ok("plugin diff binpack --live -o json"));
        if diff["decisions"]["otherwise"].as_u64() > Some(0) {
            return;
        }
        assert!(Instant::now() < end, "the shadow is never asked: {diff}");
        let names: Vec<String> = (0..4).map(|n| format!("more{wave}-{n:02}")).collect();
        stage.ok(&format!("delete pod {} --force", names.join(" ")));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_snapshot_is_placed_anew_by_two_policies_and_a_shadow_is_held_against_the_active_one() {
    let stage = Stage::new();
    nodes(&stage);
    until_decides(&stage);
    ready(&stage);
    pods(&stage, "web", 24);
    stage.until("get pods -o jsonpath={.items[*].spec.nodeName}", |nodes| {
        nodes.split_whitespace().count() == 25
    });
    let file = stage.dir.path().join("now.snap").display().to_string();
    stage.ok(&format!("snapshot save {file}"));
    let said = stage.ok(&format!("plugin replay spread --from {file} --against binpack"));
    assert!(
        said.contains("All 25 pods placed anew") && said.contains("nodes in use"),
        "{said}"
    );
    assert!(said.contains("of 25 pods have another place"), "{said}");
    let both = json(&stage.ok(&format!("plugin replay spread --from {file} --against binpack -o json")));
    let figures = both["placedAnew"]["figures"].as_array().unwrap();
    let [now, spread, binpack] = figures.as_slice() else {
        panic!("{both}")
    };
    for one in [now, spread, binpack] {
        assert_eq!((&one["placed"], &one["waiting"]), (&25.into(), &0.into()), "{both}");
        assert_eq!(one["zones"], 2);
    }
    assert!(spread["usedNodes"].as_u64() > binpack["usedNodes"].as_u64(), "{both}");
    let deviation = |one: &Value| one["cpu"]["deviation"].as_f64().unwrap();
    assert!(deviation(binpack) > deviation(spread), "{both}");
    assert_eq!(
        both["pods"][0]["name"], "default/probe-00",
        "in the order in which they were made"
    );
    // What is placed anew a second time lies as before.
    let again = json(&stage.ok(&format!("plugin replay spread --from {file} --against binpack -o json")));
    assert_eq!(again["pods"], both["pods"]);
    let nobody = stage.refused(&format!("plugin replay spread --from {file} --slot mine"));
    assert!(
        nobody.contains("no pod in it is of the scheduler \"mine\": its pods name default-scheduler"),
        "{nobody}"
    );
    let check = stage.refused(&format!("plugin replay spread --from {file} --check"));
    assert!(check.contains("a snapshot has no answers"), "{check}");

    assert!(stage.refused("plugin diff binpack").contains("is no shadow"));
    stage.ok("plugin shadow binpack");
    until_told_apart(&stage);
    let text = stage.ok("plugin diff binpack -o wide");
    assert!(
        text.contains("Active:       scheduler") && text.contains("elsewhere"),
        "{text}"
    );
    assert!(
        text.contains("default/more") && text.contains("pods placed anew"),
        "{text}"
    );
    let live = json(&stage.ok("plugin diff binpack --live -o json"));
    assert!(
        live["placedAnew"].is_null() && live["decisions"]["otherwise"].as_u64() > Some(0),
        "{live}"
    );
    assert!(stage.ok("plugin describe binpack").contains("decisions differed"));
}
