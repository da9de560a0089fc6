//! Where this host has its controllers.
use super::limit;
use crate::{error::SetupError, protocol::Limits};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What containers are put under.
const WANTED: [&str; 3] = ["cpu", "memory", "pids"];

/// The hierarchies that have a controller that is wanted.
#[derive(Debug, Default)]
pub struct Hierarchy {
    pub(super) mounts: Vec<Mounted>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    pub path: PathBuf,
    pub controllers: Vec<&'static str>,
    pub v2: bool,
}

impl Hierarchy {
    /// As mounted for this process; nothing if it cannot be told.
    pub fn detect() -> Hierarchy {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Hierarchy::parse(&table, |path| {
            fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default()
        })
    }

    /// Each controller is in one hierarchy: of version 1 if one has it, otherwise of version 2.
    pub(super) fn parse(table: &str, of_v2: impl Fn(&Path) -> String) -> Hierarchy {
        let mut mounts: Vec<Mounted> = Vec::new();
        let mut unified = None;
        for line in table.lines() {
            let Some((mount, filesystem)) = line.split_once(" - ") else {
                continue;
            };
            let Some(path) = mount.split(' ').nth(4).map(PathBuf::from) else {
                continue;
            };
            let mut fields = filesystem.split(' ');
            match fields.next() {
                Some("cgroup2") => unified = unified.or(Some(path)),
                Some("cgroup") => {
                    let options: Vec<&str> = fields.nth(1).unwrap_or_default().split(',').collect();
                    let new =
                        |name: &&str| options.contains(name) && !mounts.iter().any(|m| m.controllers.contains(name));
                    let controllers: Vec<&str> = WANTED.into_iter().filter(|name| new(name)).collect();
                    if !controllers.is_empty() {
                        mounts.push(Mounted {
                            path,
                            controllers,
                            v2: false,
                        });
                    }
                }
                _ => {}
            }
        }
        if let Some(path) = unified {
            let there = of_v2(&path);
            let new = |name: &&str| !mounts.iter().any(|mount| mount.controllers.contains(name));
            let there = |name: &&str| there.split_ascii_whitespace().any(|there| there == *name);
            let controllers: Vec<&str> = WANTED.into_iter().filter(|name| new(name) && there(name)).collect();
            if !controllers.is_empty() {
                mounts.push(Mounted {
                    path,
                    controllers,
                    v2: true,
                });
            }
        }
        Hierarchy { mounts }
    }

    /// What this host lacks: an error if a limit depends on it, otherwise warnings.
    pub(super) fn missing(&self, limits: &Limits) -> Result<Vec<String>, SetupError> {
        let mut warnings = Vec::new();
        for name in WANTED {
            if self.mounts.iter().any(|mount| mount.controllers.contains(&name)) {
                continue;
            }
            let text = format!("the {name} limit cannot be enforced: this host has no {name} cgroup controller");
            if limit::insists(limits, &[name]) {
                return Err(SetupError(text));
            }
            warnings.push(text.replace("limit cannot be enforced", "cgroup is left out"));
        }
        Ok(warnings)
    }
}

impl Mounted {
    /// Makes a directory below, and with version 2 passes the controllers down to it.
    pub fn make(&self, name: &str) -> io::Result<()> {
        let enable: String = self.controllers.iter().map(|name| format!("+{name} ")).collect();
        // Another pod's end may remove a parent that is empty for a moment.
        let mut attempts = 0;
        loop {
            let mut path = self.path.clone();
            let made = name.split('/').try_for_each(|part| {
                if self.v2 {
                    // Where this is refused, as in a container that has processes at its root, the limit's file is
                    // missing below, which is told then.
                    let _ = fs::write(path.join("cgroup.subtree_control"), enable.trim_end());
                }
                path.push(part);
                match fs::create_dir(&path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                    made => made,
                }
            });
            attempts += 1;
            match made {
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < 5 => {}
                made => return made,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:4 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn found(table: &str, v2: &str) -> Vec<(String, Vec<&'static str>, bool)> {
        let mounts = Hierarchy::parse(table, |_| v2.to_owned()).mounts;
        mounts
            .into_iter()
            .map(|m| (m.path.display().to_string(), m.controllers, m.v2))
            .collect()
    }

    #[test]
    fn version_one_two_and_both() {
        let hybrid = found(HYBRID, "pids io");
        assert_eq!(hybrid[0], ("/sys/fs/cgroup/cpu,cpuacct".to_owned(), vec!["cpu"], false));
        assert_eq!(hybrid[1], ("/sys/fs/cgroup/memory".to_owned(), vec!["memory"], false));
        assert_eq!(hybrid[2], ("/sys/fs/cgroup/unified".to_owned(), vec!["pids"], true));
        let v2 = found(
            "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate",
            "cpuset cpu io memory pids",
        );
        assert_eq!(v2, [("/sys/fs/cgroup".to_owned(), vec!["cpu", "memory", "pids"], true)]);
        assert!(found("", "").is_empty());
    }

    #[test]
    fn a_limit_without_its_controller_is_an_error() {
        let hierarchy = Hierarchy::parse(HYBRID, |_| String::new());
        assert_eq!(hierarchy.missing(&Limits::default()).unwrap().len(), 1);
        let error = hierarchy
            .missing(&Limits {
                pids: Some(5),
                ..Limits::default()
            })
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "the pids limit cannot be enforced: this host has no pids cgroup controller"
        );
    }
}
