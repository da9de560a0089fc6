//! The volumes of a pod: directories and files below its own, or on the node.
mod files;

use super::{ConfigError, Facts, Sources};
use files::{Files, files};
use k8s_openapi::api::core::v1::{self as core, Pod};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
    path::{Component, Path, PathBuf},
};

/// Where each volume of a pod is on the node.
pub type Places = BTreeMap<String, PathBuf>;

/// What is to be seen of a volume in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// On the node.
    pub source: PathBuf,
    /// In the container.
    pub target: String,
    pub read_only: bool,
}

/// Sets up what is not yet, below `dir`. What is there is left as it is: containers may be using it.
///
/// # Errors
/// Names the volume and why it cannot be had.
pub fn set_up(pod: &Pod, facts: &Facts, sources: &Sources, dir: &Path) -> Result<Places, ConfigError> {
    let mut places = Places::new();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let place = set_up_one(pod, facts, sources, dir, volume)?;
        places.insert(volume.name.clone(), place);
    }
    Ok(places)
}

/// Sets up those in memory: they are mounted before the pod's shim has mounts of its own.
///
/// # Errors
/// As [`set_up`].
pub fn set_up_memory(pod: &Pod, dir: &Path) -> Result<(), ConfigError> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    for volume in volumes.filter(|volume| in_memory(volume)) {
        set_up_one(pod, &Facts::default(), &Sources::default(), dir, volume)?;
    }
    Ok(())
}

/// Who the files of volumes belong to, as `fsGroup` says.
fn group(pod: &Pod) -> Option<u32> {
    let group = pod.spec.as_ref()?.security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

fn set_up_one(
    pod: &Pod,
    facts: &Facts,
    sources: &Sources,
    dir: &Path,
    volume: &core::Volume,
) -> Result<PathBuf, ConfigError> {
    let (name, group) = (&volume.name, group(pod));
    if let Some(source) = &volume.host_path {
        return host_path(name, source);
    }
    // Kubernetes' names of volumes are DNS labels, which cannot climb; what came another way is not trusted to.
    let place = dir.join(relative(name).ok_or_else(|| ConfigError::mount(name, "its name is no DNS label"))?);
    if place.exists() && (!in_memory(volume) || is_mounted(&place)) {
        return Ok(place);
    }
    let failed = |error: io::Error| ConfigError::mount(name, error);
    if let Some(source) = &volume.empty_dir {
        return empty_dir(name, source, &place, group).map(|()| place);
    }
    let files = files(pod, facts, sources, volume).map_err(|error| ConfigError::mount(name, error.message))?;
    let Some(files) = files else {
        return Err(ConfigError::mount(name, format!("{}: use {SUPPORTED}", kind(volume))));
    };
    // Aside and renamed, so that a container sees all of it or none.
    let aside = dir.join(format!(".{name}"));
    let _ = fs::remove_dir_all(&aside);
    write(&aside, &files, group).map_err(failed)?;
    fs::rename(&aside, &place).map_err(failed)?;
    Ok(place)
}

const SUPPORTED: &str = "emptyDir, hostPath, configMap, secret, downwardAPI or projected";

/// What a volume is that is none of those supported.
fn kind(volume: &core::Volume) -> String {
    let value = serde_json::to_value(volume).unwrap_or_default();
    let kind = value
        .as_object()
        .and_then(|map| map.keys().find(|key| *key != "name"))
        .cloned();
    kind.map_or_else(
        || "it has no source".to_owned(),
        |kind| format!("volumes of type {kind} are not supported"),
    )
}

/// A path that stays where it is put.
fn relative(path: &str) -> Option<&Path> {
    let path = Path::new(path);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && path.components().next().is_some()).then_some(path)
}

fn empty_dir(
    name: &str,
    source: &core::EmptyDirVolumeSource,
    place: &Path,
    group: Option<u32>,
) -> Result<(), ConfigError> {
    let failed = |error: io::Error| ConfigError::mount(name, error);
    fs::create_dir_all(place).map_err(failed)?;
    match source.medium.as_deref().unwrap_or_default() {
        "" => {}
        "Memory" => {
            let size = source
                .size_limit
                .as_ref()
                .and_then(|limit| sampan_api::quantity::units(&limit.0).ok());
            mount_memory(place, size).map_err(failed)?;
        }
        other => {
            return Err(ConfigError::mount(
                name,
                format!("unknown medium \"{other}\": expected \"\" or Memory"),
            ));
        }
    }
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    chown(place, None, group).map_err(failed)?;
    fs::set_permissions(place, fs::Permissions::from_mode(mode)).map_err(failed)
}

fn in_memory(volume: &core::Volume) -> bool {
    volume
        .empty_dir
        .as_ref()
        .is_some_and(|source| source.medium.as_deref() == Some("Memory"))
}

/// Whether it is another filesystem than where it is. A reboot, or a kill between two steps, leaves a mere directory.
fn is_mounted(place: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    place.parent().is_some_and(|parent| device(parent) != device(place))
}

fn mount_memory(place: &Path, size: Option<i64>) -> io::Result<()> {
    use rustix::mount::{MountFlags, mount};
    let options = size.map(|size| format!("size={size}")).unwrap_or_default();
    let options = std::ffi::CString::new(options)?;
    mount(
        "tmpfs",
        place,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        options.as_c_str(),
    )?;
    Ok(())
}

/// Takes away what [`set_up`] made. Blocks.
///
/// # Errors
/// If the disk refuses.
pub fn remove(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        // Lazily: a process in the last throes may still hold it. What is no mount says EINVAL.
        let _ = rustix::mount::unmount(entry?.path(), rustix::mount::UnmountFlags::DETACH);
    }
    fs::remove_dir_all(dir)
}

fn host_path(name: &str, source: &core::HostPathVolumeSource) -> Result<PathBuf, ConfigError> {
    let path = PathBuf::from(&source.path);
    let failed = |error: io::Error| ConfigError::mount(name, format!("{}: {error}", path.display()));
    if !path.is_absolute() {
        return Err(ConfigError::mount(
            name,
            format!("hostPath \"{}\" must be absolute", source.path),
        ));
    }
    let kind = source.type_.as_deref().unwrap_or_default();
    match kind {
        "DirectoryOrCreate" => fs::create_dir_all(&path).map_err(failed)?,
        "FileOrCreate" => drop(
            fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(&path)
                .map_err(failed)?,
        ),
        _ => {}
    }
    let metadata = fs::metadata(&path).map_err(failed)?;
    use std::os::unix::fs::FileTypeExt;
    let found = metadata.file_type();
    let right = match kind {
        "Directory" | "DirectoryOrCreate" => found.is_dir(),
        "File" | "FileOrCreate" => found.is_file(),
        "Socket" => found.is_socket(),
        "CharDevice" => found.is_char_device(),
        "BlockDevice" => found.is_block_device(),
        _ => true,
    };
    if right {
        Ok(path)
    } else {
        Err(ConfigError::mount(
            name,
            format!("hostPath type check failed: {} is not a {kind}", path.display()),
        ))
    }
}

fn write(dir: &Path, files: &Files, group: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    for (path, content, mode) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(&path, content)?;
        let readable = if group.is_some() { mode | 0o040 } else { *mode };
        chown(&path, None, group)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(readable))?;
    }
    chown(dir, None, group)
}

/// What a container sees of the pod's volumes. `subPath`s are made where they are missing, and are resolved within their
/// volume whatever links a container left there.
///
/// # Errors
/// Where a mount names no volume, or a path that climbs.
pub fn mounts(
    container: &core::Container,
    places: &Places,
    variables: &BTreeMap<String, String>,
) -> Result<Vec<Mount>, ConfigError> {
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let unknown = || ConfigError::config(format!("volumeMount \"{}\" names no volume of the pod", mount.name));
        let place = places.get(&mount.name).ok_or_else(unknown)?;
        let expr = mount
            .sub_path_expr
            .as_ref()
            .map(|text| super::command::expand(text, variables));
        let sub = expr.or_else(|| mount.sub_path.clone()).filter(|sub| !sub.is_empty());
        let source = match sub {
            None => place.clone(),
            Some(sub) => sub_path(place, &sub).map_err(|error| ConfigError {
                reason: "CreateContainerConfigError",
                message: format!(
                    "failed to prepare subPath \"{sub}\" of volume \"{}\": {error}",
                    mount.name
                ),
            })?,
        };
        if !mount.mount_path.starts_with('/') {
            let message = format!(
                "volumeMount \"{}\": mountPath \"{}\" must be absolute",
                mount.name, mount.mount_path
            );
            return Err(ConfigError::config(message));
        }
        mounts.push(Mount {
            source,
            target: mount.mount_path.clone(),
            read_only: mount.read_only == Some(true),
        });
    }
    Ok(mounts)
}

fn sub_path(place: &Path, sub: &str) -> io::Result<PathBuf> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2};
    let sub = relative(sub).ok_or_else(|| io::Error::other("it must be relative and without \"..\""))?;
    let flags = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut at = rustix::fs::openat(CWD, place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    for part in sub.components() {
        let open = || {
            openat2(
                &at,
                part.as_os_str(),
                OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
                Mode::empty(),
                flags,
            )
        };
        at = match open() {
            Err(rustix::io::Errno::NOENT) => {
                mkdirat(&at, part.as_os_str(), Mode::from_raw_mode(0o755))?;
                open()?
            }
            found => found?,
        };
        if rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&at)?.st_mode).is_symlink() {
            return Err(io::Error::other("a symbolic link is on the way"));
        }
    }
    Ok(place.join(sub))
}

#[cfg(test)]
mod tests;
