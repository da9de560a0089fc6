//! Cgroups of versions 1 and 2, and both at once: where each controller is, what a container may use, what it was killed
//! for.
mod detect;
mod limit;

pub use detect::Hierarchy;

use crate::{
    error::{SetupError, reason},
    protocol::Limits,
    sys,
};
use rustix::{
    fd::OwnedFd,
    fs::{CWD, Mode, OFlags, openat},
};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// The directories that are one cgroup, one for each hierarchy in use.
#[derive(Debug, Default)]
pub struct Cgroup {
    dirs: Vec<Dir>,
}

#[derive(Debug)]
struct Dir {
    /// The controllers it is for; one or more of a hierarchy.
    controllers: Vec<&'static str>,
    path: PathBuf,
    v2: bool,
}

impl Cgroup {
    /// Makes the cgroup `name` with its limits. The strings are warnings: what could not be had and nobody insists on.
    pub fn create(hierarchy: &Hierarchy, name: &str, limits: &Limits) -> Result<(Cgroup, Vec<String>), SetupError> {
        let mut cgroup = Cgroup::default();
        let mut warnings = hierarchy.missing(limits)?;
        for mount in &hierarchy.mounts {
            let path = mount.path.join(name);
            let made = mount.make(name).and_then(|()| {
                cgroup.dirs.push(Dir {
                    controllers: mount.controllers.clone(),
                    path: path.clone(),
                    v2: mount.v2,
                });
                limit::apply(&path, mount.v2, &mount.controllers, limits)
            });
            if let Err(error) = made {
                let what = mount.controllers.join(", ");
                let text = format!(
                    "cannot limit {what} with the cgroup {}: {}",
                    path.display(),
                    reason(&error)
                );
                if limit::insists(limits, &mount.controllers) {
                    cgroup.remove();
                    return Err(SetupError(text));
                }
                warnings.push(text);
            }
        }
        Ok((cgroup, warnings))
    }

    /// Where a container sees its cgroups below `/sys/fs/cgroup`, and what is mounted there.
    pub fn views(&self) -> Vec<(String, PathBuf)> {
        let views = self.dirs.iter().flat_map(|dir| {
            let names: Vec<&str> = if dir.v2 { vec![""] } else { dir.controllers.clone() };
            names.into_iter().map(|name| (name.to_owned(), dir.path.clone()))
        });
        views.collect()
    }

    /// The directory to clone a process into, with version 2.
    pub fn clone_target(&self) -> io::Result<Option<OwnedFd>> {
        let Some(dir) = self.dirs.iter().find(|dir| dir.v2) else {
            return Ok(None);
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Some(openat(CWD, &dir.path, flags, Mode::empty())?))
    }

    /// Where the calling process enters, with version 1, by [`Entrance::enter`]: opened while the path can still be seen.
    pub fn entrance(&self) -> io::Result<Entrance> {
        let tasks = self.dirs.iter().filter(|dir| !dir.v2);
        let opened = tasks.map(|dir| fs::OpenOptions::new().write(true).open(dir.path.join("tasks")));
        opened.collect::<Result<_, _>>().map(Entrance)
    }

    /// How many processes the kernel killed for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let Some(dir) = self.dirs.iter().find(|dir| dir.controllers.contains(&"memory")) else {
            return 0;
        };
        let file = if dir.v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(dir.path.join(file)).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Kills whatever is still in.
    pub fn kill(&self) {
        self.dirs.iter().for_each(|dir| kill_in(&dir.path));
    }

    /// Removes the directories; `false` if something is still in them.
    pub fn remove(&mut self) -> bool {
        self.dirs.retain(|dir| !remove_dir(&dir.path));
        self.dirs.is_empty()
    }
}

/// The way into a cgroup of version 1.
pub struct Entrance(Vec<fs::File>);

impl Entrance {
    /// Puts the calling process in. It must have one thread: moving one that moves itself takes no lock of the whole
    /// system, as moving a process would, which waits for milliseconds.
    pub fn enter(self) -> io::Result<()> {
        self.0.into_iter().try_for_each(|mut tasks| tasks.write_all(b"0"))
    }
}

fn kill_in(path: &Path) {
    if fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    for pid in fs::read_to_string(path.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
    {
        // Never 0 or a negative number: a process that is not visible here is shown as 0.
        if let Ok(pid @ 2..) = pid.parse::<i32>() {
            let _ = sys::kill(pid, libc::SIGKILL);
        }
    }
}

/// Whether it is gone. What is in the way, a process or a cgroup that one made, is killed and removed first.
fn remove_dir(path: &Path) -> bool {
    fs::remove_dir(path).is_ok() || sweep_dir(path).is_ok()
}

/// Kills what is left in the cgroup of a pod, such as `sampan/<uid>`, and in those below it, and removes them; those above
/// it go with the last pod. For a pod whose shim is gone. Waits for what was killed, at most two seconds.
///
/// # Errors
/// Where one cannot be removed, saying which.
pub fn sweep(name: &str) -> io::Result<()> {
    if name
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..")
    {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("\"{name}\" is no name of a pod's cgroup"),
        ));
    }
    let deadline = Instant::now() + Duration::from_secs(2);
    for mount in Hierarchy::detect().mounts {
        let path = mount.path.join(name);
        while let Err(error) = sweep_dir(&path) {
            if Instant::now() > deadline {
                return Err(io::Error::new(
                    error.kind(),
                    format!("cannot remove {}: {}", path.display(), reason(&error)),
                ));
            }
            thread::sleep(Duration::from_millis(5));
        }
        let mut above = Path::new(name)
            .ancestors()
            .skip(1)
            .filter(|above| !above.as_os_str().is_empty());
        // In vain where another pod is.
        above.try_for_each(|above| fs::remove_dir(mount.path.join(above))).ok();
    }
    Ok(())
}

fn sweep_dir(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    {
        sweep_dir(&entry.path())?;
    }
    kill_in(path);
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Forked;

    /// On a host of version 1 too, where its hierarchy has no controllers but can be cloned into.
    #[test]
    fn a_process_is_cloned_into_version_two() {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let unified = table.lines().find(|line| line.contains(" - cgroup2 "));
        let root = rustix::process::geteuid().is_root();
        let Some(unified) = unified.filter(|_| root) else {
            eprintln!("SKIPPED: needs root and a cgroup hierarchy of version 2");
            return;
        };
        let name = format!("sampan-unit-{}/pod/web", std::process::id());
        let hierarchy = Hierarchy::parse(unified, |_| "pids".to_owned());
        let (mut cgroup, _) = Cgroup::create(&hierarchy, &name, &Limits::default()).unwrap();
        let target = cgroup.clone_target().unwrap().unwrap();
        let Forked::Parent(pid) = sys::clone(0, Some(std::os::fd::AsFd::as_fd(&target))).unwrap() else {
            // Nothing that could need a lock: the other threads of the test are not here.
            loop {
                std::hint::spin_loop();
            }
        };
        let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        cgroup.kill();
        let id = rustix::process::Pid::from_raw(pid).unwrap();
        let (_, status) = rustix::process::waitpid(Some(id), rustix::process::WaitOptions::empty())
            .unwrap()
            .unwrap();
        assert!(cgroup.remove());
        for parent in Path::new(&name).ancestors().skip(1).take(2) {
            fs::remove_dir(hierarchy.mounts[0].path.join(parent)).unwrap();
        }
        assert!(own.lines().any(|line| line.ends_with(&format!(":/{name}"))), "{own}");
        assert_eq!(status.terminating_signal(), Some(9));
    }

    #[test]
    fn only_a_pods_cgroup_is_swept() {
        for name in ["", "/", "..", "sampan/../..", "sampan//x"] {
            assert!(sweep(name).is_err(), "{name}");
        }
    }
}
