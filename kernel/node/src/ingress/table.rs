//! The routing table as requests are matched against it: the same as the plugins' entries, found without looking through them.
use sampan_sandbox::ingress::{
    Backend, Certificate, Entry, HostName, Path, Pool, Protocol, Routing, Secret, VirtualHost,
};
use std::{collections::HashMap, net::SocketAddr};

/// What is wanted of the proxy, at one time.
#[derive(Debug, Default)]
pub struct Table {
    exact: HashMap<String, Site>,
    wildcard: HashMap<String, Site>,
    any: Option<Site>,
    pools: Vec<Place>,
    certificates: HashMap<HostName, Secret>,
}

/// Who answers: where they are, and how much of all they get.
#[derive(Debug)]
pub struct Place {
    /// For people: `default/web:http`.
    pub name: String,
    pub protocol: Protocol,
    /// Those with a weight.
    pub backends: Vec<(SocketAddr, u16)>,
}

/// A host's routes by what they match, each with its number in their order.
#[derive(Debug, Default)]
struct Site {
    exact: HashMap<String, usize>,
    /// Without slashes at their ends.
    prefixes: HashMap<String, usize>,
    longest: usize,
    routes: Vec<Target>,
    otherwise: Option<usize>,
}

#[derive(Debug)]
struct Target {
    pool: usize,
    rewrite: Option<String>,
    filter: Option<String>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The number of the pool.
    pub pool: usize,
    pub filter: Option<&'a str>,
    rewrite: Option<&'a str>,
    /// Bytes of the path that matched.
    matched: usize,
}

impl Table {
    /// Of what plugins want.
    pub fn of(routing: &Routing) -> Self {
        let mut table = Table::default();
        let mut numbers = HashMap::new();
        for entry in routing.entries() {
            if let Entry::Pool(pool) = entry {
                numbers.insert(pool.name.as_str(), table.pools.len());
                table.pools.push(place(pool));
            }
        }
        for entry in routing.entries() {
            match entry {
                Entry::Pool(_) => {}
                Entry::Host(host) => {
                    let site = Site::of(host, &numbers);
                    match &host.host {
                        HostName::Exact(name) => drop(table.exact.insert(name.clone(), site)),
                        HostName::Wildcard(name) => drop(table.wildcard.insert(name.clone(), site)),
                        HostName::Any => table.any = Some(site),
                    }
                }
                Entry::Certificate(Certificate { host, secret }) => {
                    table.certificates.insert(host.clone(), secret.clone());
                }
            }
        }
        table
    }

    /// The pools; their numbers are their places.
    pub fn pools(&self) -> &[Place] {
        &self.pools
    }

    /// What becomes of a request for a host (in lower case, without a port or a dot at its end; empty for none) and a path.
    pub fn find(&self, host: &str, path: &str) -> Option<Found<'_>> {
        let sites = || {
            let exact = self.exact.get(host);
            let wildcard = host.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
            exact.into_iter().chain(wildcard).chain(&self.any)
        };
        let otherwise = || {
            let pool = sites().find_map(|site| site.otherwise)?;
            Some(Found {
                pool,
                filter: None,
                rewrite: None,
                matched: 0,
            })
        };
        sites().find_map(|site| site.find(path)).or_else(otherwise)
    }

    /// The Secret of the certificate that is shown to who asks for a host (empty for none).
    pub fn certificate(&self, host: &str) -> Option<&Secret> {
        let exact = || self.certificates.get(&HostName::Exact(host.to_owned()));
        let wildcard = || {
            let (_, parent) = host.split_once('.')?;
            self.certificates.get(&HostName::Wildcard(parent.to_owned()))
        };
        exact()
            .or_else(wildcard)
            .or_else(|| self.certificates.get(&HostName::Any))
    }

    /// The Secrets that it shows.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.certificates.values()
    }
}

fn place(pool: &Pool) -> Place {
    let backends = pool.backends.iter().filter(|backend| backend.weight > 0);
    let backends =
        backends.map(|Backend { address, port, weight }| (SocketAddr::new((*address).into(), *port), *weight));
    Place {
        name: pool.name.clone(),
        protocol: pool.protocol,
        backends: backends.collect(),
    }
}

impl Site {
    fn of(host: &VirtualHost, pools: &HashMap<&str, usize>) -> Self {
        let mut site = Site::default();
        for route in &host.routes {
            // The check of plans sees to it that it is there.
            let Some(pool) = pools.get(route.pool.as_str()) else {
                continue;
            };
            let number = site.routes.len();
            match &route.path {
                Path::Exact(path) => {
                    site.exact.entry(path.clone()).or_insert(number);
                }
                Path::Prefix(path) => {
                    let elements = path.trim_end_matches('/');
                    site.longest = site.longest.max(elements.len());
                    site.prefixes.entry(elements.to_owned()).or_insert(number);
                }
            }
            site.routes.push(Target {
                pool: *pool,
                rewrite: route.rewrite.clone(),
                filter: route.filter.clone(),
            });
        }
        let otherwise = host.otherwise.as_ref();
        site.otherwise = otherwise.and_then(|pool| pools.get(pool.as_str()).copied());
        site
    }

    /// The first of its routes that matches.
    fn find(&self, path: &str) -> Option<Found<'_>> {
        let exact = self.exact.get(path).map(|number| (*number, path.len()));
        // What a prefix matches goes on with a slash, or not at all.
        let ends = path
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'/')
            .map(|(at, _)| at);
        let ends = ends.chain([path.len()]).take_while(|end| *end <= self.longest);
        let prefixes = ends.filter_map(|end| Some((*self.prefixes.get(path.get(..end)?)?, end)));
        let (number, matched) = prefixes.chain(exact).min()?;
        let target = self.routes.get(number)?;
        Some(Found {
            pool: target.pool,
            filter: target.filter.as_deref(),
            rewrite: target.rewrite.as_deref(),
            matched,
        })
    }
}

impl Found<'_> {
    /// The path that the backend sees, where it is another than was asked for.
    pub fn rewritten(&self, path: &str) -> Option<String> {
        let rewrite = self.rewrite?;
        Some(match path.get(self.matched..).unwrap_or_default() {
            "" => rewrite.to_owned(),
            rest => format!("{}{rest}", rewrite.trim_end_matches('/')),
        })
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
