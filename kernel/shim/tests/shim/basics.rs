//! A container's world: names, processes, network, exit codes, output.
use crate::stage::{exit_of, pod, pod_with};
use sampan_shim::{ClientError, ErrorKind, Phase, Reason, Reply, Request, START_ERROR_CODE, User, read_exit};
use std::fs;

#[test]
fn it_has_its_own_names_processes_and_network() {
    let Some(mut pod) = pod() else { return };
    let script = "hostname; echo pid $$; ls /proc | grep -c '^[0-9]'; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; \
                  ip -o addr show lo | grep -c 127.0.0.1; readlink /proc/self/ns/net; cat /proc/self/cgroup | grep memory";
    let spec = pod.script("web", script);
    let (state, printed) = pod.run(&spec);
    assert_eq!(
        (state.exit_code, state.reason),
        (Some(0), Some(Reason::Completed)),
        "{printed}"
    );
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[..2], ["boat", "pid 1"]);
    assert!(lines[2].parse::<u32>().unwrap() <= 4, "{printed}");
    let interfaces: Vec<&str> = lines[3..]
        .iter()
        .copied()
        .take_while(|line| line.parse::<u32>().is_err())
        .collect();
    assert!(
        interfaces.contains(&"lo") && !interfaces.iter().any(|name| name.starts_with("eth")),
        "{printed}"
    );
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let of_pod = fs::read_link(format!("/proc/{}/ns/net", pod.launched.info.pid)).unwrap();
    assert!(
        !printed.contains(own.to_str().unwrap()) && printed.contains(of_pod.to_str().unwrap()),
        "{printed}"
    );
    assert!(
        lines[3 + interfaces.len()] == "1" || lines.last().unwrap().ends_with(":/"),
        "{printed}"
    );
}

#[test]
fn exit_codes_and_signals() {
    let Some(mut pod) = pod() else { return };
    let spec = pod.script("code", "exit 7");
    let (state, _) = pod.run(&spec);
    assert_eq!(
        (state.exit_code, state.signal, state.reason),
        (Some(7), None, Some(Reason::Error))
    );
    assert!(state.started_at.unwrap() <= state.finished_at.unwrap());
    assert_eq!(read_exit(&pod.dir, "code").unwrap().unwrap(), state);

    let mut watcher = pod.watcher();
    let spec = pod.script(
        "sleeper",
        "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done",
    );
    pod.start(&spec).unwrap();
    crate::stage::wait_for("ready", || pod.printed("sleeper") == "ready\n");
    pod.signal("sleeper", 15);
    let state = exit_of(&mut watcher, "sleeper");
    assert_eq!((state.exit_code, state.signal), (Some(3), None));
    assert_eq!(pod.printed("sleeper"), "ready\nbye\n");

    let spec = pod.script("killed", "sleep 100");
    pod.start(&spec).unwrap();
    pod.signal("killed", 9);
    let state = exit_of(&mut watcher, "killed");
    assert_eq!(
        (state.exit_code, state.signal, state.reason),
        (Some(137), Some(9), Some(Reason::Error))
    );
    let states: Vec<_> = pod.state().into_iter().map(|state| (state.name, state.phase)).collect();
    assert_eq!(
        states,
        ["code", "killed", "sleeper"].map(|name| (name.to_owned(), Phase::Exited))
    );
}

#[test]
fn environment_directory_and_user() {
    let Some(mut pod) = pod() else { return };
    let mut spec = pod.script(
        "web",
        "pwd; id -u; id -g; id -G; echo $GREETING; env | wc -l; echo out > /dev/stdout",
    );
    spec.env.push("GREETING=hello, boat".to_owned());
    spec.cwd = Some("/srv/made/for/it".to_owned());
    spec.user = User {
        uid: 1000,
        gid: 1001,
        additional_gids: vec![2000, 2001],
    };
    let (state, printed) = pod.run(&spec);
    // PATH, HOME, GREETING, and what the shell adds.
    let environment = printed.lines().nth(5).unwrap().parse::<u32>().unwrap();
    assert!(environment <= 6, "{printed}");
    let expected = "/srv/made/for/it\n1000\n1001\n1001 2000 2001\nhello, boat\n";
    assert!(
        printed.starts_with(expected) && printed.ends_with("\nout\n"),
        "{printed}"
    );
    assert_eq!(state.exit_code, Some(0));
}

#[test]
fn output_is_a_log_of_lines_and_parts() {
    let Some(mut pod) = pod() else { return };
    let script = "echo one; echo two >&2; sleep 0.05; head -c 20000 /dev/zero | tr '\\0' x; echo; printf end";
    let spec = pod.script("web", script);
    pod.run(&spec);
    let text = fs::read_to_string(pod.log("web")).unwrap();
    let mut seen = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.splitn(4, ' ').collect();
        assert_eq!(
            (fields[0].len(), &fields[0][10..11], &fields[0][29..]),
            (30, "T", "Z"),
            "{line}"
        );
        seen.push((fields[1], fields[2], fields[3].len()));
    }
    seen[..2].sort_unstable();
    assert_eq!(seen[..2], [("stderr", "F", 3), ("stdout", "F", 3)]);
    assert_eq!(
        seen[2..],
        [
            ("stdout", "P", 16384),
            ("stdout", "F", 20000 - 16384),
            ("stdout", "P", 3)
        ]
    );
}

#[test]
fn much_output_is_rotated_and_whole() {
    let Some(mut pod) = pod() else { return };
    let mut spec = pod.script("web", "seq 1 20000");
    spec.log.as_mut().unwrap().max_size = 300_000;
    pod.run(&spec);
    let read = |suffix: &str| fs::read_to_string(format!("{}{suffix}", pod.log("web").display())).unwrap_or_default();
    let text: String = [".4", ".3", ".2", ".1", ""].map(read).concat();
    let numbers: Vec<u32> = text
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(numbers, (1..=20000).collect::<Vec<_>>());
    assert!(!read(".1").is_empty());
}

#[test]
fn what_cannot_be_started_says_why() {
    let Some(mut pod) = pod() else { return };
    let mut refused = |spec: &sampan_shim::ContainerSpec| match pod.start(spec) {
        Err(ClientError::Refused(error)) => (error.kind, error.message),
        other => panic!("{other:?}"),
    };
    let Some(other) = crate::stage::pod() else { return };
    let mut spec = other.script("web", "");
    spec.args = vec!["/bin/nope".to_owned()];
    let nope = "cannot start container \"web\": exec \"/bin/nope\": no such file or directory";
    assert_eq!(refused(&spec), (ErrorKind::StartFailed, nope.to_owned()));
    spec.args = vec!["nope".to_owned()];
    assert!(
        refused(&spec)
            .1
            .ends_with("exec \"nope\": no such program in PATH (/bin)")
    );
    spec.args = vec!["/etc".to_owned()];
    assert!(refused(&spec).1.ends_with("exec \"/etc\": permission denied"));
    spec.args = vec![];
    assert!(refused(&spec).1.contains("no command"));
    spec.args = vec!["sh".to_owned()];
    spec.capabilities.push("CAP_FLY".to_owned());
    assert!(refused(&spec).1.contains("unknown capability \"CAP_FLY\""));
    spec.name = "../up".to_owned();
    assert_eq!(refused(&spec).0, ErrorKind::Invalid);

    let state = pod.state().remove(0);
    assert_eq!(
        (state.exit_code, state.reason, state.started_at),
        (Some(START_ERROR_CODE), Some(Reason::StartError), None)
    );
    assert!(read_exit(&pod.dir, "web").unwrap().unwrap().message.contains("CAP_FLY"));
}

#[test]
fn containers_of_a_pod_share_its_network_and_its_memory_but_not_their_processes() {
    let Some(mut pod) = pod_with(|spec| {
        spec.sysctls
            .insert("net.ipv4.ip_local_port_range".to_owned(), "2000 3000".to_owned());
    }) else {
        return;
    };
    let mut watcher = pod.watcher();
    let server = pod.script("server", "echo hello | nc -l -p 80");
    pod.start(&server).unwrap();
    let script = "until nc 127.0.0.1 80 < /dev/null; do sleep 0.02; done 2> /dev/null; ps | grep -c '[n]c -l'; \
                  cat /proc/sys/net/ipv4/ip_local_port_range";
    let client = pod.script("client", script);
    pod.start(&client).unwrap();
    assert_eq!(exit_of(&mut watcher, "client").exit_code, Some(0));
    assert_eq!(pod.printed("client"), "hello\n0\n2000\t3000\n");
    let again = pod.script("client", "");
    let removed = pod
        .client
        .request(Request::Remove {
            container: "client".to_owned(),
        })
        .unwrap();
    assert_eq!(removed, Reply::Done);
    assert!(!pod.dir.join("client").exists());
    let (state, _) = pod.run(&again);
    assert_eq!(state.exit_code, Some(0));
}

#[test]
fn a_full_disk_loses_lines_and_stops_nobody() {
    let Some(mut pod) = pod() else { return };
    let mut watcher = pod.watcher();
    let mut spec = pod.script("web", "seq 1 200000; exit 6");
    spec.log.as_mut().unwrap().path = "/dev/full".into();
    pod.start(&spec).unwrap();
    assert_eq!(exit_of(&mut watcher, "web").exit_code, Some(6));
}
