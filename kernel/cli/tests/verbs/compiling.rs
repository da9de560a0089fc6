//! The compiler of plugins is a process of its own: it gives way, ends with the server, and leaves nothing behind.
use crate::stage::{PATIENCE, Stage};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// The children of a process that compile.
fn compilers(parent: u32) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let names = processes.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|pid| stat(pid).is_some_and(|stat| stat[1] == parent.to_string()))
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("\0__compile\0"))
        })
        .collect()
}

/// What follows the name in proc_pid_stat(5): the state, the parent, …
fn stat(pid: &str) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn with(cache: &Path, extension: &str) -> usize {
    let files = fs::read_dir(cache).into_iter().flatten().flatten();
    files
        .filter(|file| file.path().extension().is_some_and(|of| of == extension))
        .count()
}

#[test]
fn it_gives_way_and_ends_with_a_server_that_is_killed() {
    let mut stage = Stage::new();
    let compiler = until("nobody compiles", || compilers(stage.pid()).pop());
    until("it does not step back", || {
        stat(&compiler).filter(|stat| stat[16] == "10")
    });
    until("it is not bounded", || {
        let limits = fs::read_to_string(format!("/proc/{compiler}/limits")).unwrap_or_default();
        let bounded = |line: &str| line.starts_with("Max data size") && !line.contains("unlimited");
        (limits.is_empty() || limits.lines().any(bounded)).then_some(())
    });
    stage.kill();
    until("it outlives its parent", || {
        stat(&compiler).is_none_or(|stat| stat[0] == "Z").then_some(())
    });
    // What was killed while it wrote leaves something aside; the next start takes it away.
    let cache = stage.dir.path().join("data/cache/wasm");
    fs::create_dir_all(&cache).unwrap();
    fs::write(cache.join("x.1-0.tmp"), b"half").unwrap();
    stage.again();
    assert!(!cache.join("x.1-0.tmp").exists());
    until("nothing is compiled", || (with(&cache, "cwasm") > 2).then_some(()));
    assert_eq!(stage.stop(), 0);
    assert_eq!(with(&cache, "tmp"), 0);
}
