//! The data directory: made private, with the shim in it, and names for what lives there.
use anyhow::{Context, Result, bail};
use std::{
    fs::{self, DirBuilder, Permissions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Makes the directories that are not there, readable by nobody else.
///
/// # Errors
/// If they cannot be made, or belong to somebody else.
pub fn prepare(data: &Path) -> Result<()> {
    let what = || format!("cannot make {}: choose another place with --data-dir", data.display());
    for directory in [
        data.to_owned(),
        data.join("server"),
        data.join("node"),
        data.join("cache"),
        data.join("bin"),
    ] {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .with_context(what)?;
    }
    let metadata = fs::metadata(data).with_context(what)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        bail!(
            "{} belongs to another user: run as that user, or choose another place with --data-dir",
            data.display()
        );
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(data, Permissions::from_mode(0o700)).with_context(what)?;
    }
    Ok(())
}

/// Lets this process have as many files as it may: each watch and each pod takes some.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised there are fewer watches and pods.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

/// Writes the shim that this binary carries, under a name that says which it is: shims of pods that run on keep theirs.
///
/// # Errors
/// If it cannot be written.
pub fn install_shim(data: &Path) -> Result<PathBuf> {
    let directory = data.join("bin");
    let digest = sampan_container::Digest::of(sampan_builtin::SHIM);
    let path = directory.join(format!("sampan-shim-{}", &digest.hex()[..12]));
    let what = || format!("cannot write {}", path.display());
    let whole = |there: &fs::Metadata| there.len() == sampan_builtin::SHIM.len() as u64;
    if fs::metadata(&path).is_ok_and(|there| whole(&there)) {
        return Ok(path);
    }
    let mut file = tempfile::Builder::new()
        .prefix(".shim-")
        .tempfile_in(&directory)
        .with_context(what)?;
    file.write_all(sampan_builtin::SHIM).with_context(what)?;
    file.as_file()
        .set_permissions(Permissions::from_mode(0o700))
        .with_context(what)?;
    file.as_file().sync_all().with_context(what)?;
    file.persist(&path).map_err(|error| error.error).with_context(what)?;
    fs::File::open(&directory)
        .and_then(|directory| directory.sync_all())
        .with_context(what)?;
    Ok(path)
}

/// This machine's address on the way to a server. Nothing is sent.
///
/// # Errors
/// If there is no way.
pub async fn way_to(server: &str) -> io::Result<IpAddr> {
    let socket = tokio::net::UdpSocket::bind(("0.0.0.0", 0)).await?;
    socket.connect(server).await?;
    Ok(socket.local_addr()?.ip())
}

/// What this host calls itself.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The name as a node may have it: in lower case, and within the rules of names.
///
/// # Errors
/// If it cannot be made one.
pub fn node_name(name: &str) -> Result<String> {
    let lower = name.to_lowercase().replace('_', "-");
    if !sampan_api::validate::is_name(&lower) {
        bail!(
            "\"{name}\" is no name: lower-case letters, digits, '-' and '.'; say another with --name or --cluster-name"
        );
    }
    Ok(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_private_and_the_shim_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        prepare(&data).unwrap();
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
        let shim = install_shim(&data).unwrap();
        assert_eq!(fs::read(&shim).unwrap(), sampan_builtin::SHIM);
        assert_eq!(fs::metadata(&shim).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(install_shim(&data).unwrap(), shim);
        assert_eq!(fs::read_dir(data.join("bin")).unwrap().count(), 1);
    }

    #[test]
    fn hosts_have_all_sorts_of_names() {
        assert_eq!(node_name("My_Host.lan").unwrap(), "my-host.lan");
        assert!(node_name("no spaces").is_err());
    }
}
