//! The files of a pod that tell its programs about the network: `hosts`, `hostname`, `resolv.conf`.
use super::{Addresses, ResolvConf};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use std::{fs, io, net::IpAddr, path::Path};

/// The cluster's domain where nothing else is said.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// The longest host name that the kernel takes. Bytes.
const MAX_HOSTNAME: usize = 64;

/// What pods are told of the cluster's DNS.
#[derive(Clone, Debug)]
pub struct ClusterDns {
    pub domain: String,
    /// Where the node serves it. None: nowhere; pods are given the node's own name servers then.
    pub server: Option<IpAddr>,
}

impl Default for ClusterDns {
    fn default() -> Self {
        ClusterDns {
            domain: CLUSTER_DOMAIN.to_owned(),
            server: None,
        }
    }
}

/// The node's own files that pods take from.
struct OfNode {
    resolv_conf: ResolvConf,
    hosts: String,
}

/// What programs in the pod take to be the machine's name: the pod's host name, or all of its name in the cluster if it
/// wants that (`setHostnameAsFQDN`).
pub fn hostname(pod: &Pod, dns: &ClusterDns) -> String {
    let spec = pod.spec.as_ref();
    let overridden = spec.and_then(|spec| spec.hostname_override.clone());
    if let Some(name) = overridden.filter(|name| !name.is_empty()) {
        return name;
    }
    let whole = spec.is_some_and(|spec| spec.set_hostname_as_fqdn == Some(true));
    full_name(pod, dns).filter(|_| whole).unwrap_or_else(|| short_name(pod))
}

/// As given, else the pod's own, cut to a label.
fn short_name(pod: &Pod) -> String {
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

/// The name in the cluster of a pod with a subdomain.
fn full_name(pod: &Pod, dns: &ClusterDns) -> Option<String> {
    let subdomain = pod.spec.as_ref()?.subdomain.as_ref().filter(|name| !name.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    Some(format!(
        "{}.{subdomain}.{namespace}.svc.{}",
        short_name(pod),
        dns.domain
    ))
}

/// Writes the three files into `dir`.
///
/// # Errors
/// If the disk refuses, or the pod wants a host name that the kernel does not take.
pub fn write_files(pod: &Pod, addresses: Addresses, dns: &ClusterDns, dir: &Path) -> io::Result<()> {
    let name = hostname(pod, dns);
    if name.len() > MAX_HOSTNAME {
        let message = format!(
            "the host name \"{name}\" has {} characters, and {MAX_HOSTNAME} are the limit: shorten the pod's hostname or \
             subdomain, or leave out setHostnameAsFQDN",
            name.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let of_node = OfNode {
        resolv_conf: ResolvConf::read(Path::new("/etc/resolv.conf")),
        hosts: fs::read_to_string("/etc/hosts").unwrap_or_default(),
    };
    fs::create_dir_all(dir)?;
    fs::write(dir.join("hostname"), format!("{name}\n"))?;
    fs::write(dir.join("hosts"), hosts(pod, addresses, dns, &of_node))?;
    fs::write(dir.join("resolv.conf"), resolv_conf(pod, dns, &of_node).text())
}

fn on_host(spec: &PodSpec) -> bool {
    spec.host_network == Some(true)
}

fn hosts(pod: &Pod, addresses: Addresses, dns: &ClusterDns, of_node: &OfNode) -> String {
    let spec = pod.spec.clone().unwrap_or_default();
    let mut text = if on_host(&spec) {
        format!("# Written by Sampan, after the node's.\n{}\n", of_node.hosts.trim_end())
    } else {
        let names: Vec<String> = full_name(pod, dns).into_iter().chain([short_name(pod)]).collect();
        let names = names.join("\t");
        let own = addresses.iter().map(|address| format!("{address}\t{names}\n"));
        format!(
            "# Written by Sampan.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\t\
             ip6-localnet\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n{}",
            own.collect::<String>()
        )
    };
    for alias in spec.host_aliases.iter().flatten() {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

/// After `dnsPolicy`, with what `dnsConfig` adds to it.
fn resolv_conf(pod: &Pod, dns: &ClusterDns, of_node: &OfNode) -> ResolvConf {
    let spec = pod.spec.clone().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let mut all = match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "None" => ResolvConf::default(),
        "Default" => inherited(&spec, dns, of_node),
        "ClusterFirst" if on_host(&spec) => inherited(&spec, dns, of_node),
        _ => match dns.server {
            None => inherited(&spec, dns, of_node),
            Some(server) => {
                let domain = &dns.domain;
                let mut all = ResolvConf {
                    servers: vec![server.to_string()],
                    searches: vec![
                        format!("{namespace}.svc.{domain}"),
                        format!("svc.{domain}"),
                        domain.clone(),
                    ],
                    options: vec!["ndots:5".to_owned()],
                };
                all.extend(&[], &of_node.resolv_conf.searches);
                all
            }
        },
    };
    if let Some(config) = &spec.dns_config {
        let (servers, searches) = (config.nameservers.as_deref(), config.searches.as_deref());
        all.extend(servers.unwrap_or_default(), searches.unwrap_or_default());
        for option in config.options.iter().flatten() {
            if let Some(name) = option.name.as_deref().filter(|name| !name.is_empty()) {
                all.set_option(name, option.value.as_deref().filter(|value| !value.is_empty()));
            }
        }
    }
    all
}

/// The node's own. Of its name servers a pod with a network of its own does not reach those on the loopback: where there are
/// no others, the node's DNS asks them for it.
fn inherited(spec: &PodSpec, dns: &ClusterDns, of_node: &OfNode) -> ResolvConf {
    let mut all = of_node.resolv_conf.clone();
    if !on_host(spec) {
        let reachable = |server: &str| server.parse().is_ok_and(|server: IpAddr| !server.is_loopback());
        all.servers.retain(|server| reachable(server));
        if all.servers.is_empty() {
            all.servers.extend(dns.server.map(|server| server.to_string()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::net::Ipv4Addr;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "web-5d9c", "namespace": "prod"}, "spec": spec})).unwrap()
    }

    fn dns() -> ClusterDns {
        ClusterDns {
            domain: "cluster.local".into(),
            server: Some(IpAddr::from([10, 42, 0, 1])),
        }
    }

    #[test]
    fn files_say_what_the_pod_is() {
        let dir = tempfile::tempdir().unwrap();
        let aliases = json!([{"ip": "10.0.0.9", "hostnames": ["db", "db.local"]}]);
        let mut spec = json!({"containers": [], "hostAliases": aliases});
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        let mut addresses = Addresses::from(Ipv4Addr::new(10, 42, 0, 7));
        let write = |addresses: Addresses, spec: &serde_json::Value| {
            write_files(&pod(spec.clone()), addresses, &dns(), dir.path())
        };
        write(addresses, &spec).unwrap();
        assert_eq!(read("hostname"), "web-5d9c\n");
        assert!(read("hosts").contains("10.42.0.7\tweb-5d9c\n10.0.0.9\tdb\tdb.local\n"));
        assert!(
            read("resolv.conf").starts_with("nameserver 10.42.0.1\nsearch prod.svc.cluster.local svc.cluster.local")
        );

        addresses.v6 = "fd42::7".parse().ok();
        write(addresses, &spec).unwrap();
        assert!(read("hosts").contains("10.42.0.7\tweb-5d9c\nfd42::7\tweb-5d9c\n10.0.0.9\tdb"));
        spec["subdomain"] = json!("db");
        spec["hostname"] = json!("db-0");
        write(addresses, &spec).unwrap();
        assert!(read("hosts").contains("10.42.0.7\tdb-0.db.prod.svc.cluster.local\tdb-0\n"));
        assert_eq!(read("hostname"), "db-0\n");
        spec["setHostnameAsFQDN"] = json!(true);
        write(addresses, &spec).unwrap();
        assert_eq!(read("hostname"), "db-0.db.prod.svc.cluster.local\n");
        spec["hostname"] = json!("d".repeat(50));
        let error = write(addresses, &spec).unwrap_err().to_string();
        assert!(error.contains("setHostnameAsFQDN"), "{error}");
        spec["hostNetwork"] = json!(true);
        spec["hostnameOverride"] = json!("mine");
        write(addresses, &spec).unwrap();
        assert_eq!(read("hostname"), "mine\n");
        assert!(!read("hosts").contains("10.42.0.7") && read("hosts").contains("localhost"));
    }

    #[test]
    fn host_names_fit() {
        let mut long = pod(json!({"containers": []}));
        long.metadata.name = Some(format!("{}-b", "a".repeat(62)));
        assert_eq!(hostname(&long, &dns()), "a".repeat(62));
        assert_eq!(
            hostname(&pod(json!({"containers": [], "hostname": "db-0"})), &dns()),
            "db-0"
        );
        let alone = json!({"containers": [], "setHostnameAsFQDN": true});
        assert_eq!(hostname(&pod(alone), &dns()), "web-5d9c");
    }

    #[test]
    fn name_servers_by_policy() {
        let node = "# comment\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch example.org\noptions edns0\n";
        let of = |dns: &ClusterDns, node: &str, spec: serde_json::Value| {
            let of_node = OfNode {
                resolv_conf: ResolvConf::parse(node),
                hosts: String::new(),
            };
            resolv_conf(&pod(spec), dns, &of_node).text()
        };
        let cluster = "nameserver 10.42.0.1\nsearch prod.svc.cluster.local svc.cluster.local cluster.local example.org\n\
                       options ndots:5\n";
        let own = "nameserver 192.0.2.53\nsearch example.org\noptions edns0\n";
        let policy =
            |policy: &str, on_host: bool| json!({"containers": [], "dnsPolicy": policy, "hostNetwork": on_host});
        assert_eq!(of(&dns(), node, json!({"containers": []})), cluster);
        assert_eq!(of(&dns(), node, policy("ClusterFirst", false)), cluster);
        assert_eq!(of(&dns(), node, policy("ClusterFirstWithHostNet", true)), cluster);
        assert_eq!(of(&dns(), node, policy("Default", false)), own);
        let on_host = of(&dns(), node, policy("ClusterFirst", true));
        assert_eq!(on_host, format!("nameserver 127.0.0.53\n{own}"));
        assert_eq!(of(&ClusterDns::default(), node, policy("ClusterFirst", false)), own);
        assert_eq!(of(&dns(), node, policy("None", false)), "");
        let through = of(&dns(), "nameserver 127.0.0.53\n", policy("Default", false));
        assert_eq!(through, "nameserver 10.42.0.1\n");

        let mut spec = policy("None", false);
        let options = json!([{"name": "ndots", "value": "2"}, {"name": "rotate"}]);
        spec["dnsConfig"] = json!({"nameservers": ["192.0.2.1", "10.42.0.1"], "searches": ["a", "svc.cluster.local"], "options": options});
        let alone = "nameserver 192.0.2.1\nnameserver 10.42.0.1\nsearch a svc.cluster.local\noptions ndots:2 rotate\n";
        assert_eq!(of(&dns(), node, spec.clone()), alone);
        spec["dnsPolicy"] = json!("ClusterFirst");
        assert_eq!(
            of(&dns(), node, spec),
            "nameserver 10.42.0.1\nnameserver 192.0.2.1\n\
             search prod.svc.cluster.local svc.cluster.local cluster.local example.org a\noptions ndots:2 rotate\n"
        );
    }
}
