//! What pods need to have a network, and whether the server's port is free.
use super::Finding;
use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
};

/// Runs a program quietly; none if there is no such program.
fn succeeds(program: &str, args: &[&str]) -> Option<bool> {
    let mut command = Command::new(program);
    let status = command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.ok().map(|status| status.success())
}

pub fn namespaces(root: bool) -> Finding {
    let check = "network namespaces";
    if !Path::new("/proc/self/ns/net").exists() {
        return Finding::fail(check, "not in this kernel", "use a kernel with CONFIG_NET_NS");
    }
    if !root {
        return Finding::warn(check, "not tried: they need root", "sudo sampan doctor");
    }
    // In a namespace that is gone when the program ends.
    match succeeds("unshare", &["-n", "true"]) {
        Some(true) => Finding::ok(check, "there"),
        Some(false) => Finding::fail(check, "refused", "in a container: run it with CAP_SYS_ADMIN"),
        None => Finding::ok(check, "in this kernel (not tried: unshare is not installed)"),
    }
}

pub fn veth(root: bool) -> Finding {
    let check = "veth";
    if !root {
        return Finding::warn(check, "not tried: it needs root", "sudo sampan doctor");
    }
    match succeeds(
        "unshare",
        &["-n", "ip", "link", "add", "sp0", "type", "veth", "peer", "name", "sp1"],
    ) {
        Some(true) => Finding::ok(check, "there"),
        _ if Path::new("/sys/module/veth").exists() => {
            Finding::ok(check, "in this kernel (not tried: ip is not installed)")
        }
        _ => Finding::fail(
            check,
            "refused",
            "modprobe veth, and apt-get install iproute2 so that it can be tried",
        ),
    }
}

pub fn nft(root: bool) -> Finding {
    let check = "nftables";
    if !root {
        return Finding::warn(check, "not tried: it needs root", "sudo sampan doctor");
    }
    match sampan_node::datapath::available() {
        Ok(()) => Finding::ok(check, "in this kernel"),
        Err(error) => Finding::warn(
            check,
            error.to_string(),
            "modprobe nf_tables; wanted for Services and policies",
        ),
    }
}

/// Whether the overlay can have its device.
pub fn tun(root: bool) -> Finding {
    let check = "tun";
    match std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
        Ok(_) => Finding::ok(check, "there"),
        Err(error) if !root => Finding::warn(
            check,
            format!("not tried: it needs root ({error})"),
            "sudo sampan doctor",
        ),
        Err(error) => Finding::warn(
            check,
            format!("/dev/net/tun: {error}"),
            "modprobe tun; wanted for pods of several nodes",
        ),
    }
}

pub fn port(listen: SocketAddr) -> Finding {
    let check = "port";
    match TcpListener::bind(listen) {
        Ok(_) => Finding::ok(check, format!("{listen} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Finding::warn(
            check,
            format!("{listen} is in use, perhaps by `sampan up`"),
            "sampan up --listen 127.0.0.1:7444",
        ),
        Err(error) => Finding::fail(
            check,
            format!("{listen}: {error}"),
            "choose another address with --listen",
        ),
    }
}
