//! Who a container runs as: the image's `USER`, looked up in the image's own passwd and group files.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2, statat};
use rustix::io::Errno;

use crate::error::{ImageError, Result};
use crate::unpack::is_opaque_layer;

/// A passwd or group file above this is refused. Bytes.
const MAX_FILE: u64 = 1 << 20;

/// Numbers for a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Groups that list the user as a member, sorted. Empty if a group was named, as in Docker.
    pub additional_gids: Vec<u32>,
    /// Home directory, if the passwd file has the user.
    pub home: Option<String>,
}

/// Resolves `user`, `uid`, `user:group` and their mixtures; empty is root. `lowers` are the layers, topmost first, as
/// [`crate::Prepared::Container`] has them. A number need not be in the files. Blocks.
///
/// # Errors
/// [`ImageError::Malformed`] for a name that the files do not have, or a file that is not regular.
pub fn resolve_user(user: &str, lowers: &[PathBuf]) -> Result<ResolvedUser> {
    let (name, group) = user
        .split_once(':')
        .map_or((user, None), |(name, group)| (name, Some(group)));
    let name = if name.is_empty() { "0" } else { name };
    let unknown = |what: &str, name: &str, file: &str| {
        ImageError::malformed(
            format!("{what} {name:?}"),
            format!("the image's {file} does not have it; use a number"),
        )
    };
    let passwd = read(lowers, "passwd")?;
    let number = parse_id(name)?;
    let entry = passwd.iter().find(|fields| match number {
        Some(number) => field(fields, 2).parse() == Ok(number),
        None => field(fields, 0) == name,
    });
    let mut resolved = match (entry, number) {
        (Some(fields), _) => ResolvedUser {
            uid: id_field(fields, 2, "/etc/passwd")?,
            gid: id_field(fields, 3, "/etc/passwd")?,
            additional_gids: Vec::new(),
            home: Some(field(fields, 5).to_owned()).filter(|home| home.starts_with('/')),
        },
        (None, Some(number)) => ResolvedUser {
            uid: number,
            ..ResolvedUser::default()
        },
        (None, None) => return Err(unknown("user", name, "/etc/passwd")),
    };
    let login = entry.map(|fields| field(fields, 0).to_owned());
    let groups = read(lowers, "group")?;
    match group.filter(|group| !group.is_empty()) {
        Some(group) => {
            resolved.gid = match (parse_id(group)?, groups.iter().find(|fields| field(fields, 0) == group)) {
                (Some(number), _) => number,
                (None, Some(fields)) => id_field(fields, 2, "/etc/group")?,
                (None, None) => return Err(unknown("group", group, "/etc/group")),
            };
        }
        None => {
            let Some(login) = login else { return Ok(resolved) };
            let member = |fields: &&Vec<String>| field(fields, 3).split(',').any(|member| member.trim() == login);
            resolved.additional_gids = groups
                .iter()
                .filter(member)
                .filter_map(|fields| field(fields, 2).parse().ok())
                .collect();
            resolved.additional_gids.sort_unstable();
            resolved.additional_gids.dedup();
        }
    }
    Ok(resolved)
}

fn field(fields: &[String], index: usize) -> &str {
    fields.get(index).map_or("", String::as_str)
}

fn id_field(fields: &[String], index: usize, file: &str) -> Result<u32> {
    let text = field(fields, index);
    text.parse()
        .map_err(|_| ImageError::malformed(file, format!("{text:?} is not a user or group number")))
}

/// A number, or none for a name.
fn parse_id(text: &str) -> Result<Option<u32>> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    // The last number means "unchanged" to the kernel.
    let id = text.parse().ok().filter(|id| *id != u32::MAX);
    id.map(Some)
        .ok_or_else(|| ImageError::malformed(format!("user {text:?}"), "the number is too large"))
}

/// The lines of a file of `/etc` as the merged layers show it, split at colons. None of it: no lines.
fn read(lowers: &[PathBuf], name: &str) -> Result<Vec<Vec<String>>> {
    for lower in lowers {
        let failed = |errno: Errno| ImageError::io("reading", lower.join("etc").join(name), errno);
        let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(lower, directory, Mode::empty()).map_err(failed)?;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let etc = match openat2(&root, "etc", directory, Mode::empty(), within) {
            Ok(etc) => etc,
            Err(Errno::NOENT) => continue,
            // It hides, or is something else than, the directory below.
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
            Err(errno) => return Err(failed(errno)),
        };
        match statat(&etc, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                return lines(openat2(&etc, name, flags, Mode::empty(), within).map_err(failed)?, name);
            }
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice => return Ok(Vec::new()),
            Ok(_) => {
                let reason = "it is not a regular file in the image; give the user by number";
                return Err(ImageError::malformed(format!("/etc/{name}"), reason));
            }
            Err(Errno::NOENT) if is_opaque_layer(&lower.join("etc")) => return Ok(Vec::new()),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(Vec::new())
}

fn lines(file: OwnedFd, name: &str) -> Result<Vec<Vec<String>>> {
    let failed = |error: std::io::Error| ImageError::io("reading", format!("/etc/{name} of the image"), error);
    let size = fstat(&file).map_err(|errno| failed(errno.into()))?.st_size;
    if u64::try_from(size).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(ImageError::too_large(format!("/etc/{name} of the image"), "1 MiB"));
    }
    let mut text = Vec::new();
    std::fs::File::from(file)
        .take(MAX_FILE)
        .read_to_end(&mut text)
        .map_err(failed)?;
    let text = String::from_utf8_lossy(&text);
    let entries = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    Ok(entries
        .map(|line| line.split(':').map(str::to_owned).collect())
        .collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn layers() -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let (top, bottom) = (dir.path().join("top"), dir.path().join("bottom"));
        for layer in [&top, &bottom] {
            fs::create_dir_all(layer.join("etc")).unwrap();
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\n# note\nwww:x:33:34::/srv/www:/bin/false\n";
        fs::write(bottom.join("etc/passwd"), passwd).unwrap();
        fs::write(
            bottom.join("etc/group"),
            "root:x:0:\nwww:x:34:\nlog:x:4:root,www\nsys:x:3:www\n",
        )
        .unwrap();
        (dir, vec![top, bottom])
    }

    #[test]
    fn names_numbers_and_groups() {
        let (_dir, lowers) = layers();
        let root = resolve_user("", &lowers).unwrap();
        assert_eq!((root.uid, root.gid, root.additional_gids), (0, 0, vec![4]));
        let www = resolve_user("www", &lowers).unwrap();
        assert_eq!((www.uid, www.gid, www.additional_gids.clone()), (33, 34, vec![3, 4]));
        assert_eq!(www.home.as_deref(), Some("/srv/www"));
        assert_eq!(resolve_user("33", &lowers).unwrap(), www);
        let named = resolve_user("www:log", &lowers).unwrap();
        assert_eq!((named.gid, named.additional_gids), (4, vec![]));
        assert_eq!(resolve_user("1000:7", &lowers).unwrap().gid, 7);
        assert_eq!(resolve_user("1000", &lowers).unwrap().gid, 0);
        assert!(
            resolve_user("nobody", &lowers)
                .unwrap_err()
                .to_string()
                .contains("does not have it")
        );
        assert!(
            resolve_user("4294967295", &lowers)
                .unwrap_err()
                .to_string()
                .contains("too large")
        );
    }

    #[test]
    fn hostile_files() {
        let (_dir, lowers) = layers();
        let passwd = lowers[0].join("etc/passwd");
        symlink("/etc/passwd", &passwd).unwrap();
        assert!(
            resolve_user("root", &lowers)
                .unwrap_err()
                .to_string()
                .contains("not a regular file")
        );
        fs::remove_file(&passwd).unwrap();
        fs::File::create(&passwd).unwrap().set_len(2 << 20).unwrap();
        assert!(resolve_user("root", &lowers).unwrap_err().to_string().contains("1 MiB"));
        fs::remove_file(&passwd).unwrap();
        fs::remove_dir(lowers[0].join("etc")).unwrap();
        symlink("/etc", lowers[0].join("etc")).unwrap();
        assert!(resolve_user("www", &lowers).is_err());
    }
}
