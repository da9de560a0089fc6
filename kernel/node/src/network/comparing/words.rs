//! Entries in words, fact by fact, so that of two entries what differs can be shown alone.
use sampan_sandbox::{
    ingress::{self, Path},
    network::{self, Fallback, Pool, Protocol, Rule, Scope},
};

/// Facts of an entry that are shown, and bytes of one.
const MOST_FACTS: usize = 6;
const LONGEST_FACT: usize = 160;

/// An entry in words.
pub trait Words {
    /// What it says beyond its key. Names in it are as plugins wrote them: see [`shown`].
    fn facts(&self) -> Vec<String>;
}

/// The first facts in one line, each bounded and on one line.
pub fn shown(facts: impl IntoIterator<Item = String>) -> String {
    let mut facts = facts.into_iter();
    let first: Vec<String> = facts.by_ref().take(MOST_FACTS).map(bounded).collect();
    match facts.count() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn bounded(fact: String) -> String {
    let plain = |char: char| !char.is_control();
    let fact = match fact.chars().all(plain) {
        true => fact,
        false => fact.escape_debug().to_string(),
    };
    match fact.len() > LONGEST_FACT {
        true => format!("{}…", &fact[..fact.floor_char_boundary(LONGEST_FACT)]),
        false => fact,
    }
}

impl Words for network::Entry {
    fn facts(&self) -> Vec<String> {
        match self {
            network::Entry::Route(route) => {
                let through = (route.via != route.peer).then(|| format!("through {}", route.via));
                let to = [format!("to {}", route.peer)].into_iter();
                to.chain(through).chain([format!("at {}", route.underlay)]).collect()
            }
            network::Entry::Frontend(frontend) => frontend_facts(frontend),
            network::Entry::Peers(set) => set.members.iter().map(ToString::to_string).collect(),
            network::Entry::Rules(rules) => {
                let sides = [("in", &rules.ingress), ("out", &rules.egress)];
                sides
                    .into_iter()
                    .flat_map(|(side, rules)| rule_facts(side, rules.as_deref()))
                    .collect()
            }
        }
    }
}

fn frontend_facts(frontend: &network::Frontend) -> Vec<String> {
    let scope = match frontend.scope {
        Scope::Cluster => "in the cluster",
        Scope::NodePort => "on nodes",
        Scope::LoadBalancer => "at the load balancer",
        Scope::External => "at an external address",
    };
    let mut facts = vec![frontend.service.clone(), scope.to_owned()];
    if frontend.affinity_seconds > 0 {
        facts.push(format!("a client stays {} s", frontend.affinity_seconds));
    }
    facts.extend(frontend.sources.iter().map(|range| format!("for {range}")));
    facts.extend(pool_facts("", &frontend.inside));
    if let Some(outside) = &frontend.outside {
        facts.extend(pool_facts("from outside ", outside));
    }
    facts
}

fn pool_facts(whence: &str, pool: &Pool) -> Vec<String> {
    let otherwise = match pool.otherwise {
        Fallback::Reject => "refused",
        Fallback::Drop => "dropped",
    };
    let backends = pool.backends.iter().map(|backend| {
        let port = backend.port;
        let address = match backend.address {
            address @ network::Address::V4(_) => format!("{address}:{port}"),
            address @ network::Address::V6(_) => format!("[{address}]:{port}"),
        };
        let weight = match backend.weight {
            1 => String::new(),
            weight => format!(" weight {weight}"),
        };
        let here = if backend.local { " here" } else { "" };
        let ending = if backend.terminating { " ending" } else { "" };
        format!("{whence}→ {address}{weight}{here}{ending}")
    });
    backends.chain([format!("{whence}else {otherwise}")]).collect()
}

fn rule_facts(side: &str, rules: Option<&[Rule]>) -> Vec<String> {
    let Some(rules) = rules else {
        return vec![format!("{side}: everything")];
    };
    if rules.is_empty() {
        return vec![format!("{side}: nothing")];
    }
    let of_rule = |rule: &Rule| {
        let peers = rule.peers.as_deref().unwrap_or("everybody");
        let ports = match &rule.ports {
            None => String::new(),
            Some(ports) => {
                let ports: Vec<String> = ports.iter().take(MOST_FACTS + 1).map(ports_of).collect();
                format!(" on {}", shown(ports))
            }
        };
        format!("{side}: {peers}{ports}")
    };
    rules.iter().map(of_rule).collect()
}

fn ports_of(ports: &network::Ports) -> String {
    let protocol = match ports.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    match ports.first == ports.last {
        true => format!("{protocol} {}", ports.first),
        false => format!("{protocol} {}-{}", ports.first, ports.last),
    }
}

impl Words for ingress::Entry {
    fn facts(&self) -> Vec<String> {
        match self {
            ingress::Entry::Pool(pool) => {
                let protocol = match pool.protocol {
                    ingress::Protocol::Http1 => "HTTP/1.1",
                    ingress::Protocol::H2c => "HTTP/2",
                };
                let backends = pool.backends.iter().map(|backend| {
                    let to = std::net::SocketAddr::new(backend.address.into(), backend.port);
                    format!("→ {to} weight {}", backend.weight)
                });
                [protocol.to_owned()].into_iter().chain(backends).collect()
            }
            ingress::Entry::Host(host) => {
                // Their order says which is taken.
                let routes = (1..).zip(&host.routes).map(|(number, route)| route_fact(number, route));
                let otherwise = host.otherwise.iter().map(|pool| format!("else {pool}"));
                routes.chain(otherwise).collect()
            }
            ingress::Entry::Certificate(certificate) => {
                let secret = &certificate.secret;
                vec![format!("Secret {}/{}", secret.namespace, secret.name)]
            }
        }
    }
}

fn route_fact(number: usize, route: &ingress::Route) -> String {
    let path = match &route.path {
        Path::Exact(path) => format!("exactly {path}"),
        Path::Prefix(path) => format!("under {path}"),
    };
    let filter = route.filter.as_ref().map(|name| format!(" through {name}"));
    let rewrite = route.rewrite.as_ref().map(|path| format!(" as {path}"));
    let (filter, rewrite) = (filter.unwrap_or_default(), rewrite.unwrap_or_default());
    format!("{number}. {path} → {}{filter}{rewrite}", route.pool)
}
