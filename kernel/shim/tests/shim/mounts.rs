//! What is mounted into a container, and the traps that an image may hold.
use crate::stage::pod;
use sampan_shim::{ClientError, Mount, Rootfs, Source};
use std::{fs, os::unix::fs::symlink, path::Path};

fn bind(source: &Path, target: &str, readonly: bool) -> Mount {
    Mount {
        target: target.to_owned(),
        source: Source::Bind(source.to_owned()),
        readonly,
    }
}

#[test]
fn files_and_directories_are_bound_where_they_are_wanted() {
    let Some(mut pod) = pod() else { return };
    let (data, hosts) = (pod.home.path().join("data"), pod.home.path().join("hosts"));
    fs::create_dir(&data).unwrap();
    fs::write(data.join("in"), "from outside\n").unwrap();
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let script =
        "cat /etc/hosts /var/data/in; echo from inside > /var/data/out; touch /etc/hosts 2>&1; rm /var/sealed/in 2>&1";
    let mut spec = pod.script("web", script);
    spec.mounts = vec![
        bind(&hosts, "/etc/hosts", true),
        bind(&data, "/var/data", false),
        bind(&data, "/var/sealed", true),
    ];
    let (_, printed) = pod.run(&spec);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[..2], ["127.0.0.1 localhost", "from outside"]);
    assert_eq!(printed.matches("Read-only file system").count(), 2, "{printed}");
    assert_eq!(fs::read_to_string(data.join("out")).unwrap(), "from inside\n");
}

#[test]
fn links_in_an_image_lead_nowhere_outside() {
    let Some(mut pod) = pod() else { return };
    let image = pod.home.path().join("image");
    let (outside, secret) = (pod.home.path().join("outside"), pod.home.path().join("secret"));
    fs::create_dir(&outside).unwrap();
    fs::write(&secret, "bait\n").unwrap();
    // As the container's root, `outside` is not there: a climbing runtime would find the node's.
    symlink(&outside, image.join("absolute")).unwrap();
    symlink("../../../../../../../../etc", image.join("climbing")).unwrap();
    let mut spec = pod.script("web", "cat /etc/bait/file; ls /");
    spec.mounts = vec![bind(&secret, "/climbing/bait/file", true)];
    let (_, printed) = pod.run(&spec);
    assert!(printed.starts_with("bait\n"), "{printed}");
    assert!(!Path::new("/etc/bait").exists());

    spec = pod.script("other", "true");
    spec.mounts = vec![bind(&secret, "/absolute/file", true)];
    match pod.start(&spec) {
        Err(ClientError::Refused(error)) => assert!(error.message.contains("/absolute/file"), "{}", error.message),
        Ok(_) => {}
        Err(other) => panic!("{other}"),
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn an_image_whose_proc_is_a_link_is_refused() {
    let Some(mut pod) = pod() else { return };
    let image = pod.home.path().join("image");
    fs::remove_dir(image.join("proc")).unwrap();
    symlink("/tmp", image.join("proc")).unwrap();
    let spec = pod.script("web", "true");
    let error = pod.start(&spec).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot start container \"web\": /proc in the root filesystem is a symbolic link: expected a directory"
    );
}

#[test]
fn many_layers_with_awkward_names_make_one_root() {
    let Some(mut pod) = pod() else { return };
    let mut spec = pod.script("web", "ls /layer | wc -l; cat /layer/top");
    let Rootfs::Overlay { lower, .. } = &mut spec.rootfs else {
        unreachable!()
    };
    for number in 0..120 {
        let layer = pod.home.path().join(format!("la:yer,{number}\\{}", "x".repeat(100)));
        fs::create_dir_all(layer.join("layer")).unwrap();
        fs::write(layer.join(format!("layer/{number}")), "").unwrap();
        fs::write(layer.join("layer/top"), format!("{number}\n")).unwrap();
        lower.insert(0, layer);
    }
    assert_eq!(pod.run(&spec).1, "121\n119\n");
}

#[test]
fn nothing_is_mounted_on_the_node() {
    let Some(mut pod) = pod() else { return };
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let spec = pod.script("web", "sleep 100");
    pod.start(&spec).unwrap();
    let after = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = |table: &str| {
        table
            .lines()
            .filter(|line| line.contains(pod.home.path().to_str().unwrap()))
            .count()
    };
    assert_eq!((ours(&before), ours(&after)), (0, 0));
}
