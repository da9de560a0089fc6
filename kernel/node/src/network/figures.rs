//! The network of this node in figures, in Prometheus' text format: peers, Services, DNS, Ingresses, and plugins that failed.
use sampan_overlay::{Drops, PeerStatus};
use sampan_sandbox::network::{Datapath, Entry, Frontend, FrontendKey};
use std::{collections::BTreeMap, fmt::Write as _};

/// What the worker knows of it.
#[derive(Default)]
pub struct Figures {
    pub peers: Vec<PeerStatus>,
    /// Of packets that have to do with no peer.
    pub drops: Drops,
    pub services: BTreeMap<String, Service>,
    /// By Service and frontend, as the kernel counts them.
    pub connections: BTreeMap<(String, String), u64>,
    /// By plugin.
    pub failures: BTreeMap<String, u64>,
    /// Of the ingress, as it names them itself.
    pub ingress: Vec<(&'static str, u64)>,
}

/// A Service's port, as the datapath has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Addresses and ports at which it is served.
    pub frontends: u64,
    /// Endpoints that new connections go to, and those on their way out.
    pub endpoints: u64,
    pub terminating: u64,
}

/// Counts what is wanted of the datapath, by Service and port.
pub fn services(datapath: &Datapath) -> BTreeMap<String, Service> {
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    for entry in datapath.entries() {
        let Entry::Frontend(frontend) = entry else { continue };
        let known = services.entry(frontend.service.clone()).or_default();
        let (endpoints, terminating) = endpoints(frontend);
        known.frontends += 1;
        known.endpoints = known.endpoints.max(endpoints);
        known.terminating = known.terminating.max(terminating);
    }
    services
}

/// The Services of frontends whose connections were counted.
pub fn connections(datapath: &Datapath, counted: &BTreeMap<FrontendKey, u64>) -> BTreeMap<(String, String), u64> {
    let of_entry = |entry: &Entry| {
        let Entry::Frontend(frontend) = entry else { return None };
        let count = counted.get(&frontend.key)?;
        Some(((frontend.service.clone(), frontend.key.to_string()), *count))
    };
    datapath.entries().filter_map(of_entry).collect()
}

fn endpoints(frontend: &Frontend) -> (u64, u64) {
    let backends = &frontend.inside.backends;
    let terminating = backends.iter().filter(|backend| backend.terminating).count();
    ((backends.len() - terminating) as u64, terminating as u64)
}

/// Series of one name follow each other, as the format demands.
#[derive(Default)]
struct Text(String);

impl Text {
    fn kind(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let pairs: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
            .collect();
        let braces = match pairs.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", pairs.join(",")),
        };
        let _ = writeln!(self.0, "{name}{braces} {value}");
    }

    fn family<T>(&mut self, (name, kind, help): (&str, &str, &str), of: &[T], lines: impl Fn(&mut Self, &str, &T)) {
        if !of.is_empty() {
            self.kind(name, kind, help);
            of.iter().for_each(|one| lines(self, name, one));
        }
    }
}

type Counted = (&'static str, &'static str, fn(&Service) -> u64);
type Column = (&'static str, &'static str, &'static str, fn(&PeerStatus) -> Option<f64>);

/// Of each peer; what is not known while it is away is left out.
const PEERS: &[Column] = &[
    (
        "sampan_peer_connected",
        "gauge",
        "Whether there is a connection to the node.",
        |peer| Some(f64::from(u8::from(peer.connected.is_some()))),
    ),
    ("sampan_peer_rtt_seconds", "gauge", "Round trip to the node.", |peer| {
        peer.connected.map(|connected| connected.rtt.as_secs_f64())
    }),
    (
        "sampan_peer_path_mtu_bytes",
        "gauge",
        "The longest UDP payload that the way to the node carries.",
        |peer| peer.connected.map(|connected| f64::from(connected.path_mtu)),
    ),
    (
        "sampan_peer_quic_packets_sent_total",
        "counter",
        "QUIC packets sent on the connection that stands.",
        |peer| peer.connected.map(|connected| connected.sent as f64),
    ),
    (
        "sampan_peer_quic_packets_lost_total",
        "counter",
        "Those of them that did not arrive.",
        |peer| peer.connected.map(|connected| connected.lost as f64),
    ),
    (
        "sampan_peer_received_bytes_total",
        "counter",
        "Bytes of pods' packets from the node.",
        |peer| Some(peer.received.bytes as f64),
    ),
    (
        "sampan_peer_received_packets_total",
        "counter",
        "Pods' packets from the node.",
        |peer| Some(peer.received.packets as f64),
    ),
    (
        "sampan_peer_sent_bytes_total",
        "counter",
        "Bytes of pods' packets to the node.",
        |peer| Some(peer.sent.bytes as f64),
    ),
    (
        "sampan_peer_sent_packets_total",
        "counter",
        "Pods' packets to the node.",
        |peer| Some(peer.sent.packets as f64),
    ),
];

impl Figures {
    /// All of it. `dns` are its counters, as it names them itself.
    pub fn text(&self, dns: &[(&'static str, u64)]) -> String {
        let mut text = Text::default();
        for (name, kind, help, value) in PEERS {
            text.family((name, kind, help), &self.peers, |text, name, peer| {
                if let Some(value) = value(peer) {
                    text.line(name, &[("peer", &peer.name)], value);
                }
            });
        }
        let name = "sampan_overlay_dropped_packets_total";
        text.kind(
            name,
            "counter",
            "Packets of pods that went nowhere, by reason; without a peer where none has to do with it.",
        );
        for (reason, count) in self.drops.iter() {
            text.line(name, &[("peer", ""), ("reason", &reason.to_string())], count as f64);
        }
        for peer in &self.peers {
            for (reason, count) in peer.drops.iter() {
                text.line(
                    name,
                    &[("peer", &peer.name), ("reason", &reason.to_string())],
                    count as f64,
                );
            }
        }
        self.services_text(&mut text);
        let failures: Vec<_> = self.failures.iter().collect();
        let what = (
            "sampan_network_plugin_failures_total",
            "counter",
            "Plugins of the network that failed on this node.",
        );
        text.family(what, &failures, |text, name, (plugin, count)| {
            text.line(name, &[("plugin", plugin)], **count as f64);
        });
        for counters in [dns, &self.ingress] {
            counted(&mut text, counters);
        }
        text.0
    }

    fn services_text(&self, text: &mut Text) {
        let services: Vec<_> = self.services.iter().collect();
        let columns: [Counted; 3] = [
            (
                "sampan_service_frontends",
                "Addresses and ports of a Service's port that the datapath serves.",
                |one| one.frontends,
            ),
            (
                "sampan_service_endpoints",
                "Endpoints of it that new connections go to.",
                |one| one.endpoints,
            ),
            (
                "sampan_service_terminating_endpoints",
                "Endpoints of it that are on their way out.",
                |one| one.terminating,
            ),
        ];
        for (name, help, value) in columns {
            text.family((name, "gauge", help), &services, |text, name, (service, one)| {
                text.line(name, &[("service", service)], value(one) as f64);
            });
        }
        let connections: Vec<_> = self.connections.iter().collect();
        let what = (
            "sampan_service_connections_total",
            "counter",
            "Connections that were led from a frontend of it to an endpoint; of UDP, clients' ports.",
        );
        text.family(what, &connections, |text, name, ((service, frontend), count)| {
            text.line(name, &[("service", service), ("frontend", frontend)], **count as f64);
        });
    }
}

/// Counters that carry their labels in their names.
fn counted(text: &mut Text, counters: &[(&'static str, u64)]) {
    let mut last = "";
    for (name, value) in counters {
        let family = name.split('{').next().unwrap_or_default();
        if family != last {
            let kind = if family.ends_with("_total") { "counter" } else { "gauge" };
            let _ = writeln!(text.0, "# TYPE {family} {kind}");
            last = family;
        }
        let _ = writeln!(text.0, "{name} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_overlay::{Connected, Traffic};
    use std::time::Duration;

    fn peer(name: &str, connected: bool) -> PeerStatus {
        let address = "192.0.2.1:7444".parse().unwrap();
        PeerStatus {
            name: name.to_owned(),
            address,
            connected: connected.then_some(Connected {
                address,
                lasting: Duration::from_secs(5),
                rtt: Duration::from_micros(1500),
                sent: 10,
                lost: 1,
                path_mtu: 1452,
            }),
            received: Traffic { packets: 3, bytes: 300 },
            sent: Traffic { packets: 4, bytes: 400 },
            drops: Drops::default(),
        }
    }

    #[test]
    fn figures_become_text_with_the_series_of_a_name_together() {
        let service = Service {
            frontends: 2,
            endpoints: 3,
            terminating: 1,
        };
        let figures = Figures {
            peers: vec![peer("a", true), peer("b", false)],
            services: BTreeMap::from([("default/web:http".to_owned(), service)]),
            connections: BTreeMap::from([(("default/web:http".to_owned(), "10.96.0.10:80/tcp".to_owned()), 5)]),
            failures: BTreeMap::from([("mine".to_owned(), 3)]),
            ingress: vec![("sampan_ingress_requests_total{class=\"2xx\"}", 7)],
            ..Figures::default()
        };
        let text = figures.text(&[("sampan_dns_cache_hits_total", 9)]);
        for line in [
            "sampan_peer_connected{peer=\"a\"} 1\nsampan_peer_connected{peer=\"b\"} 0\n",
            "sampan_peer_rtt_seconds{peer=\"a\"} 0.0015\n",
            "sampan_peer_path_mtu_bytes{peer=\"a\"} 1452\n",
            "sampan_peer_quic_packets_lost_total{peer=\"a\"} 1\n",
            "sampan_peer_received_bytes_total{peer=\"b\"} 300\n",
            "sampan_service_endpoints{service=\"default/web:http\"} 3\n",
            "sampan_service_connections_total{service=\"default/web:http\",frontend=\"10.96.0.10:80/tcp\"} 5\n",
            "sampan_network_plugin_failures_total{plugin=\"mine\"} 3\n",
            "# TYPE sampan_dns_cache_hits_total counter\nsampan_dns_cache_hits_total 9\n",
            "sampan_ingress_requests_total{class=\"2xx\"} 7\n",
        ] {
            assert!(text.contains(line), "no {line:?} in {text}");
        }
        assert!(!text.contains("rtt_seconds{peer=\"b\"}"), "{text}");
        let types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let unique: std::collections::BTreeSet<&&str> = types.iter().collect();
        assert_eq!(types.len(), unique.len(), "each name once: {types:?}");
    }
}
