//! What becomes of requests for a host: the rules of all our Ingresses for it, in the order in which they are tried.
use crate::{classes::is_ours, pools};
use sampan_sdk::{
    ingress::{Certificate, Entry, HostName, Name, Path, Route, Secret, View, VirtualHost},
    network::{Ingress, IngressBackend, IngressPath},
};
use std::collections::BTreeSet;

/// What a path that matched is replaced with.
const REWRITE: &str = "ingress.sampan.dev/rewrite";

/// The component that sees requests first.
const FILTER: &str = "ingress.sampan.dev/filter";

/// What the kernel takes: routes of a host, bytes of a path (no request has a longer one).
const MOST_ROUTES: usize = 10_000;
const LONGEST_PATH: usize = 16 << 10;

/// The virtual host and the certificate of a host as Ingresses have it.
pub fn of(text: &str, view: &View) -> Vec<Entry> {
    let Some(host) = host(text) else {
        return Vec::new();
    };
    let about = view.ingresses_about(text);
    let mut ours: Vec<(&Name, &Ingress)> = about.filter(|(_, ingress)| is_ours(ingress, view)).collect();
    // Names come in order, and the sort is stable.
    ours.sort_by_key(|(_, ingress)| &ingress.metadata.creation_timestamp);
    let certificate = ours.iter().find_map(|(name, ingress)| {
        let (_, secret) = ingress.tls().find(|(host, _)| *host == text)?;
        Some(Entry::Certificate(Certificate {
            host: host.clone(),
            secret: Secret {
                namespace: name.namespace.clone(),
                name: secret.to_owned(),
            },
        }))
    });
    let routes = routes(text, &ours);
    let otherwise = otherwise(text, &ours);
    let is_routed = !routes.is_empty() || otherwise.is_some();
    let virtual_host = is_routed.then_some(Entry::Host(VirtualHost {
        host,
        routes,
        otherwise,
    }));
    virtual_host.into_iter().chain(certificate).collect()
}

/// The host of an Ingress; none if it cannot be one.
fn host(text: &str) -> Option<HostName> {
    let name = |name: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
        };
        (name.len() <= 253 && name.split('.').all(is_label)).then(|| name.to_owned())
    };
    match text.strip_prefix("*.") {
        _ if text.is_empty() => Some(HostName::Any),
        Some(domain) => name(domain).map(HostName::Wildcard),
        None => name(text).map(HostName::Exact),
    }
}

/// The routes of a host, those first that are taken first: an exact path before prefixes, of prefixes the longest, and of what
/// is said twice the older.
fn routes(host: &str, ours: &[(&Name, &Ingress)]) -> Vec<Route> {
    let mut said = BTreeSet::new();
    let mut routes = Vec::new();
    for (name, ingress) in ours {
        let rules = ingress.spec.rules.iter().filter(|rule| rule.host == host);
        for path in rules.flat_map(|rule| &rule.http.paths) {
            let Some(matched) = matched(path) else { continue };
            if said.insert(matched.clone()) {
                routes.push(route(matched, &path.backend, name, ingress));
            }
        }
    }
    routes.sort_by_key(|route| match &route.path {
        Path::Exact(_) => (0, 0),
        Path::Prefix(path) => (1, usize::MAX - path.len()),
    });
    routes.truncate(MOST_ROUTES);
    routes
}

/// Which paths a path of a rule is for. Slashes at the end of a prefix say nothing. What is left to the implementation is a
/// prefix.
fn matched(path: &IngressPath) -> Option<Path> {
    let text = path.path.as_str();
    let matched = match path.path_type.as_str() {
        "Exact" => Path::Exact(text.to_owned()),
        "Prefix" | "ImplementationSpecific" => match text.trim_end_matches('/') {
            "" => Path::Prefix("/".to_owned()),
            elements => Path::Prefix(elements.to_owned()),
        },
        _ => return None,
    };
    let (Path::Exact(text) | Path::Prefix(text)) = &matched;
    (text.starts_with('/') && text.len() <= LONGEST_PATH).then_some(matched)
}

fn route(path: Path, backend: &IngressBackend, name: &Name, ingress: &Ingress) -> Route {
    let annotations = &ingress.metadata.annotations;
    let is_path = |text: &&String| {
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
        text.starts_with('/') && text.len() <= LONGEST_PATH && text.bytes().all(plain)
    };
    // Whoever asked for a filter is not served without one: no node has one of a name that is none.
    let filter = |text: &String| match host(text) {
        Some(HostName::Exact(name)) => name,
        _ => "no-name".to_owned(),
    };
    Route {
        path,
        pool: pools::name(&name.namespace, backend),
        rewrite: annotations.get(REWRITE).filter(is_path).cloned(),
        filter: annotations.get(FILTER).map(filter),
    }
}

/// Who answers where no route matches: the oldest who says it for the host. For every host those who have rules for some come
/// after those who have none.
fn otherwise(host: &str, ours: &[(&Name, &Ingress)]) -> Option<String> {
    let has_rules = |ingress: &Ingress, of: &dyn Fn(&str) -> bool| ingress.spec.rules.iter().any(|rule| of(&rule.host));
    let defaults = ours.iter().filter_map(|(name, ingress)| {
        let backend = ingress.spec.default_backend.as_ref()?;
        let is_meant = host.is_empty() || has_rules(ingress, &|of| of == host);
        is_meant.then(|| {
            (
                has_rules(ingress, &|of| !of.is_empty()),
                pools::name(&name.namespace, backend),
            )
        })
    });
    // The first of the least.
    let chosen = defaults.min_by_key(|(is_of_others, _)| host.is_empty() && *is_of_others);
    chosen.map(|(_, pool)| pool)
}
