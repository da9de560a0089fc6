//! The kernel's check of a plan: whatever a plugin answers, no request leaves the cluster's own addresses, and no Secret is
//! shown that no Ingress names.
//!
//! A plan is checked whole, against what the node itself knows and what the routing table is, before any of it is carried
//! out.
use super::{
    Bounds, Certificate, Entry, EntryKey, HostName, Op, Path, Pool, Route, Routing, Table, VirtualHost, bounds::Reach,
};
use crate::tables::After;
use sampan_api::validate::is_name;

/// Backends of a pool, routes of a host.
const MOST_BACKENDS: usize = 10_000;
const MOST_ROUTES: usize = 10_000;

/// Bytes of a pool's name, and of a path: no longer one is ever asked for, since a request's head is shorter.
const LONGEST_NAME: usize = 1024;
const LONGEST_PATH: usize = 16 << 10;

/// Checks a plan of a plugin that fills some tables.
///
/// # Errors
/// Which operation is refused, and why.
pub fn check(ops: &[Op], tables: &[Table], bounds: &Bounds, routing: &Routing) -> Result<(), String> {
    let reach = Reach::of(bounds);
    let after = After::of(ops, tables, routing, |entry| match entry {
        Entry::Pool(pool) => check_pool(pool, &reach),
        Entry::Host(host) => check_virtual_host(host),
        Entry::Certificate(certificate) => check_certificate(certificate, bounds),
    })?;
    let is_pool = |key: &EntryKey| matches!(key, EntryKey::Pool(_));
    after.check_references(routing, is_pool, |entry| {
        let Entry::Host(host) = entry else {
            return Vec::new();
        };
        let routed = host.routes.iter().map(|route| &route.pool);
        let named = routed.chain(&host.otherwise);
        named.map(|pool| EntryKey::Pool(pool.clone())).collect()
    })
}

/// A text that is shown to people.
fn short(text: &str) -> String {
    text.escape_debug().take(128).collect()
}

fn check_pool(pool: &Pool, reach: &Reach) -> Result<(), String> {
    if pool.name.is_empty() || pool.name.len() > LONGEST_NAME {
        let length = pool.name.len();
        return Err(format!("a name has 1 to {LONGEST_NAME} bytes, and this one {length}"));
    }
    if pool.backends.len() > MOST_BACKENDS {
        let count = pool.backends.len();
        return Err(format!("{count} backends: {MOST_BACKENDS} are the limit"));
    }
    for backend in &pool.backends {
        let address = backend.address;
        if !reach.covers(address) {
            return Err(format!("the backend {address} is no address of a pod or a Service"));
        }
        if backend.port == 0 {
            return Err(format!("the backend {address} has port 0"));
        }
    }
    Ok(())
}

fn check_host(host: &HostName) -> Result<(), String> {
    match host {
        HostName::Exact(name) | HostName::Wildcard(name) if !is_name(name) => {
            Err(format!("\"{}\" is no name of a host", short(name)))
        }
        _ => Ok(()),
    }
}

fn check_virtual_host(host: &VirtualHost) -> Result<(), String> {
    check_host(&host.host)?;
    if host.routes.len() > MOST_ROUTES {
        let count = host.routes.len();
        return Err(format!("{count} routes: {MOST_ROUTES} are the limit"));
    }
    host.routes.iter().try_for_each(check_route)
}

fn check_route(route: &Route) -> Result<(), String> {
    let (Path::Exact(path) | Path::Prefix(path)) = &route.path;
    if !path.starts_with('/') || path.len() > LONGEST_PATH {
        return Err(format!(
            "\"{}\" is no path: it begins with / and has at most {LONGEST_PATH} bytes",
            short(path)
        ));
    }
    // It becomes part of a request.
    let is_sound = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
        text.starts_with('/') && text.len() <= LONGEST_PATH && text.bytes().all(plain)
    };
    if let Some(rewrite) = route.rewrite.as_ref().filter(|text| !is_sound(text)) {
        return Err(format!("\"{}\" cannot be the path of a request", short(rewrite)));
    }
    if let Some(filter) = route.filter.as_ref().filter(|name| !is_name(name)) {
        return Err(format!("\"{}\" is no name of a filter", short(filter)));
    }
    Ok(())
}

fn check_certificate(certificate: &Certificate, bounds: &Bounds) -> Result<(), String> {
    check_host(&certificate.host)?;
    let secret = &certificate.secret;
    if !bounds.secrets.contains(secret) {
        let (namespace, name) = (short(&secret.namespace), short(&secret.name));
        return Err(format!("no Ingress names the Secret {namespace}/{name}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
