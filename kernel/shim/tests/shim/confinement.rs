//! What a container must not be able to do.
use crate::stage::pod;
use sampan_shim::User;

#[test]
fn it_has_dockers_capabilities_and_filter() {
    let Some(mut pod) = pod() else { return };
    let script = "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status | tr -d '\\t'";
    let spec = pod.script("web", script);
    let (_, printed) = pod.run(&spec);
    let expected = "CapInh:0000000000000000\nCapPrm:00000000a80425fb\nCapEff:00000000a80425fb\nCapBnd:00000000a80425fb\n\
                    CapAmb:0000000000000000\nNoNewPrivs:0\nSeccomp:2\n";
    assert_eq!(printed, expected);

    let mut spec = pod.script("user", script);
    spec.user = User {
        uid: 1000,
        gid: 1000,
        additional_gids: vec![],
    };
    spec.no_new_privileges = true;
    let (_, printed) = pod.run(&spec);
    assert!(
        printed.contains("CapEff:0000000000000000\nCapBnd:00000000a80425fb") && printed.contains("NoNewPrivs:1"),
        "{printed}"
    );

    let mut spec = pod.script("open", script);
    spec.unconfined = true;
    spec.capabilities = vec!["CAP_SYS_ADMIN".to_owned()];
    let (_, printed) = pod.run(&spec);
    assert!(
        printed.contains("CapEff:0000000000200000") && printed.contains("Seccomp:0"),
        "{printed}"
    );
}

#[test]
fn the_filter_forbids_what_capabilities_alone_would_not() {
    let Some(mut pod) = pod() else { return };
    let script = "mount -t tmpfs none /tmp 2>&1; unshare -U true 2>&1; unshare -m true 2>&1; mknod /tmp/x p && echo pipes are fine";
    let mut spec = pod.script("web", script);
    let (_, printed) = pod.run(&spec);
    assert_eq!(
        printed.matches("Operation not permitted").count() + printed.matches("ermission denied").count(),
        3,
        "{printed}"
    );
    assert!(printed.contains("pipes are fine"), "{printed}");
    // Even root with the capability needs the filter to allow it, which goes with the capability.
    spec = pod.script("admin", "mount -t tmpfs none /tmp && echo mounted");
    spec.capabilities.push("CAP_SYS_ADMIN".to_owned());
    assert_eq!(pod.run(&spec).1, "mounted\n");
}

#[test]
fn it_sees_no_device_of_the_node_though_it_may_make_nodes() {
    let Some(mut pod) = pod() else { return };
    let script = "ls /dev | sort | tr '\\n' ' '; echo; mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk 2>&1; \
                  mknod /dev/disk b 254 0 && head -c 1 /dev/disk 2>&1; mknod /dev/shm/null c 1 3 && head -c 1 /dev/shm/null 2>&1; \
                  head -c 4 /dev/zero | wc -c; echo x > /dev/null && test -c /dev/ptmx && echo fine";
    let spec = pod.script("web", script);
    let (_, printed) = pod.run(&spec);
    let expected = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ";
    assert_eq!(printed.lines().next().unwrap(), expected);
    assert_eq!(printed.matches("ermission denied").count(), 3, "{printed}");
    assert!(printed.ends_with("4\nfine\n"), "{printed}");
}

#[test]
fn paths_are_masked_and_sealed() {
    let Some(mut pod) = pod() else { return };
    let script = "cat /proc/kcore 2>/dev/null | wc -c; cat /proc/keys | wc -c; ls /sys/firmware | wc -l; \
                  echo 1 2>/dev/null > /proc/sys/kernel/panic || echo sealed; echo b 2>/dev/null > /proc/sysrq-trigger || echo sealed; \
                  mkdir /sys/x 2>/dev/null || echo sealed; touch /fine && echo fine";
    let spec = pod.script("web", script);
    let (_, printed) = pod.run(&spec);
    assert_eq!(printed, "0\n0\n0\nsealed\nsealed\nsealed\nfine\n");
}

#[test]
fn a_readonly_root_can_be_written_only_where_something_is_mounted() {
    let Some(mut pod) = pod() else { return };
    let mut spec = pod.script(
        "web",
        "touch /x 2>&1; touch /scratch/x && echo fine; touch /dev/shm/x && echo fine",
    );
    spec.readonly_rootfs = true;
    spec.mounts = vec![sampan_shim::Mount {
        target: "/scratch".to_owned(),
        source: sampan_shim::Source::Tmpfs { size: 1 << 20 },
        readonly: false,
    }];
    let (_, printed) = pod.run(&spec);
    assert_eq!(printed, "touch: /x: Read-only file system\nfine\nfine\n");
}

#[test]
fn a_privileged_one_sees_and_may_all() {
    let Some(mut pod) = pod() else { return };
    let mut spec = pod.script("web", "test -e /dev/kmsg && echo kmsg; test -d /sys/firmware && mkdir /tmp/m && mount -t tmpfs x /tmp/m && echo mounted");
    spec.privileged = true;
    spec.unconfined = true;
    spec.capabilities = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"].map(str::to_owned).to_vec();
    assert_eq!(pod.run(&spec).1, "kmsg\nmounted\n");
}
