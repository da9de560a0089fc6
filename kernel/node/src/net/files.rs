//! The files of a pod that tell its programs about the network: `hosts`, `hostname`, `resolv.conf`.
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use std::{fs, io, net::Ipv4Addr, path::Path};

/// The pod's host name: as given, else its own, cut to what the kernel takes.
pub fn hostname(pod: &Pod) -> String {
    let given = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.hostname.clone())
        .filter(|name| !name.is_empty());
    let name = given.or_else(|| pod.metadata.name.clone()).unwrap_or_default();
    name.chars()
        .take(63)
        .collect::<String>()
        .trim_end_matches(['-', '.'])
        .to_owned()
}

/// Writes the three files into `dir`.
///
/// # Errors
/// If the disk refuses.
pub fn write_files(pod: &Pod, address: Ipv4Addr, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let name = hostname(pod);
    let spec = pod.spec.clone().unwrap_or_default();
    fs::write(dir.join("hostname"), format!("{name}\n"))?;
    fs::write(dir.join("hosts"), hosts(&spec, &name, address))?;
    let of_node = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    fs::write(dir.join("resolv.conf"), resolv_conf(&spec, &of_node))
}

fn hosts(spec: &PodSpec, name: &str, address: Ipv4Addr) -> String {
    let mut text = String::from(
        "# Written by Sampan.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    text.push_str(&format!("{address}\t{name}\n"));
    for alias in spec.host_aliases.iter().flatten() {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

/// The node's own, without name servers on its loopback, which a pod does not reach; with what `dnsConfig` adds.
fn resolv_conf(spec: &PodSpec, of_node: &str) -> String {
    let inherited = spec.dns_policy.as_deref() != Some("None");
    let usable = |line: &&str| {
        let server = line.trim().strip_prefix("nameserver").map(str::trim);
        let loopback = server.is_some_and(|s| s.starts_with("127.") || s == "::1");
        !loopback && !line.trim_start().starts_with('#') && !line.trim().is_empty()
    };
    let mut lines: Vec<String> = if inherited {
        of_node.lines().filter(usable).map(str::to_owned).collect()
    } else {
        Vec::new()
    };
    if let Some(config) = &spec.dns_config {
        lines.extend(
            config
                .nameservers
                .iter()
                .flatten()
                .map(|server| format!("nameserver {server}")),
        );
        if let Some(searches) = config.searches.as_ref().filter(|searches| !searches.is_empty()) {
            lines.push(format!("search {}", searches.join(" ")));
        }
        let options = config
            .options
            .iter()
            .flatten()
            .map(|option| match (&option.name, &option.value) {
                (name, Some(value)) => format!("{}:{value}", name.as_deref().unwrap_or_default()),
                (name, None) => name.clone().unwrap_or_default(),
            });
        let options: Vec<String> = options.collect();
        if !options.is_empty() {
            lines.push(format!("options {}", options.join(" ")));
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "web-5d9c"}, "spec": spec})).unwrap()
    }

    #[test]
    fn files_say_what_the_pod_is() {
        let dir = tempfile::tempdir().unwrap();
        let pod = pod(json!({"containers": [], "hostAliases": [{"ip": "10.0.0.9", "hostnames": ["db", "db.local"]}]}));
        write_files(&pod, Ipv4Addr::new(10, 42, 0, 7), dir.path()).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("hostname"), "web-5d9c\n");
        assert!(read("hosts").contains("10.42.0.7\tweb-5d9c\n10.0.0.9\tdb\tdb.local\n"));
    }

    #[test]
    fn host_names_fit() {
        let mut long = pod(json!({"containers": []}));
        long.metadata.name = Some(format!("{}-b", "a".repeat(62)));
        assert_eq!(hostname(&long), "a".repeat(62));
        assert_eq!(hostname(&pod(json!({"containers": [], "hostname": "db-0"}))), "db-0");
    }

    #[test]
    fn name_servers_of_the_node_or_of_the_pod() {
        let node = "# comment\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch example.org\n";
        let of = |spec: serde_json::Value| resolv_conf(&pod(spec).spec.unwrap(), node);
        assert_eq!(
            of(json!({"containers": []})),
            "nameserver 192.0.2.53\nsearch example.org\n"
        );
        let config =
            json!({"nameservers": ["192.0.2.1"], "searches": ["a", "b"], "options": [{"name": "ndots", "value": "2"}]});
        let own = of(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": config}));
        assert_eq!(own, "nameserver 192.0.2.1\nsearch a b\noptions ndots:2\n");
    }
}
