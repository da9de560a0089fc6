//! Against the contract, written down once more as it is said in `wit/ingress`.
use super::*;
use sampan_sandbox::{
    ingress::{Bounds, EntryKey, Op, Route, Table as Tables, check},
    tables::Tabled,
};

fn pool(name: &str) -> Entry {
    Entry::Pool(Pool {
        name: name.to_owned(),
        protocol: Protocol::Http1,
        backends: Vec::new(),
    })
}

fn route(path: Path, pool: &str, rewrite: Option<&str>) -> Route {
    Route {
        path,
        pool: pool.to_owned(),
        rewrite: rewrite.map(str::to_owned),
        filter: None,
    }
}

fn exact(path: &str) -> Path {
    Path::Exact(path.to_owned())
}

fn prefix(path: &str) -> Path {
    Path::Prefix(path.to_owned())
}

fn site(host: &HostName, routes: Vec<Route>, otherwise: Option<&str>) -> Entry {
    Entry::Host(VirtualHost {
        host: host.clone(),
        routes,
        otherwise: otherwise.map(str::to_owned),
    })
}

fn host(text: &str) -> HostName {
    match text.strip_prefix("*.") {
        _ if text.is_empty() => HostName::Any,
        Some(parent) => HostName::Wildcard(parent.to_owned()),
        None => HostName::Exact(text.to_owned()),
    }
}

/// Beside pools of one letter.
fn table(entries: Vec<Entry>) -> Table {
    let pools = ('a'..='z').map(|name| pool(&name.to_string()));
    Table::of(&Routing::with(pools.chain(entries)))
}

fn asked(table: &Table, host: &str, path: &str) -> Option<String> {
    let found = table.find(host, path)?;
    Some(table.pools()[found.pool].name.clone())
}

#[test]
fn the_first_route_that_matches_is_taken() {
    let routes = vec![
        route(prefix("/x"), "a", None),
        route(exact("/x/y"), "b", None),
        route(exact("/z"), "c", None),
        route(prefix("/"), "d", None),
        route(prefix("/z/later"), "e", None),
    ];
    let table = table(vec![site(&host("h.example"), routes, None)]);
    for (path, expected) in [("/x/y", "a"), ("/z", "c"), ("/z/later", "d"), ("/xy", "d"), ("/", "d")] {
        assert_eq!(asked(&table, "h.example", path).as_deref(), Some(expected), "{path}");
    }
}

#[test]
fn paths_are_rewritten() {
    let one = |path: Path, rewrite: &str, asked: &str| {
        let table = table(vec![site(&HostName::Any, vec![route(path, "a", Some(rewrite))], None)]);
        table.find("", asked).unwrap().rewritten(asked).unwrap()
    };
    assert_eq!(one(prefix("/api"), "/", "/api/users"), "/users");
    assert_eq!(one(prefix("/api"), "/", "/api"), "/");
    assert_eq!(one(prefix("/api/"), "/v2/", "/api/users"), "/v2/users");
    assert_eq!(one(prefix("/api"), "/v2/", "/api"), "/v2/");
    assert_eq!(one(prefix("/"), "/v2", "/users"), "/v2/users");
    assert_eq!(one(exact("/api"), "/v2/all", "/api"), "/v2/all");
}

#[test]
fn certificates_are_found_as_hosts_are() {
    let certificate = |text: &str, name: &str| {
        Entry::Certificate(Certificate {
            host: host(text),
            secret: Secret {
                namespace: "n".to_owned(),
                name: name.to_owned(),
            },
        })
    };
    let named = |table: &Table, host: &str| table.certificate(host).map(|secret| secret.name.clone());
    let some = vec![certificate("a.example", "one"), certificate("*.example", "wild")];
    let table = table(some.clone());
    assert_eq!(named(&table, "a.example").as_deref(), Some("one"));
    assert_eq!(named(&table, "b.example").as_deref(), Some("wild"));
    for none in ["example", "c.b.example", ""] {
        assert_eq!(named(&table, none), None, "{none}");
    }
    let all = Table::of(&Routing::with(some.into_iter().chain([certificate("", "all")])));
    assert_eq!(named(&all, "").as_deref(), Some("all"));
}

/// A small generator of numbers, the same each time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

fn matches(path: &Path, asked: &str) -> bool {
    match path {
        Path::Exact(path) => path == asked,
        Path::Prefix(prefix) => {
            let elements = |text: &str| text.split('/').skip(1).map(str::to_owned).collect::<Vec<_>>();
            elements(asked).starts_with(&elements(prefix.trim_end_matches('/')))
        }
    }
}

/// The pool of a request, by looking through everything.
fn as_contracted(sites: &[VirtualHost], name: &str, path: &str) -> Option<String> {
    let parent = name.split_once('.').map_or("", |(_, parent)| parent);
    let order = [host(name), HostName::Wildcard(parent.to_owned()), HostName::Any];
    let order = if name.is_empty() { &order[2..] } else { &order[..] };
    let mut chosen = Vec::new();
    for host in order {
        chosen.extend(sites.iter().filter(|site| site.host == *host));
    }
    let routes = chosen
        .iter()
        .find_map(|site| site.routes.iter().find(|route| matches(&route.path, path)));
    let otherwise = || chosen.iter().find_map(|site| site.otherwise.clone());
    routes.map(|route| route.pool.clone()).or_else(otherwise)
}

#[test]
fn random_tables_are_matched_as_contracted() {
    let mut draw = Draw(7);
    let hosts = ["", "a.x", "*.x", "*.a.x", "x"];
    let paths = ["/", "/a", "/a/", "/a/b", "/a//b", "/ab", "/a/b/c"];
    let pools = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for _ in 0..500 {
        let mut sites = Vec::new();
        for text in hosts {
            if draw.below(2) == 0 {
                continue;
            }
            let routes = (0..draw.below(5)).map(|_| {
                let path = draw.one(&paths);
                let path = if draw.below(2) == 0 { exact(path) } else { prefix(path) };
                route(path, draw.one(&pools), None)
            });
            let routes = routes.collect();
            let otherwise = (draw.below(3) == 0).then(|| draw.one(&pools));
            let Entry::Host(site) = site(&host(text), routes, otherwise) else {
                unreachable!()
            };
            sites.push(site);
        }
        let table = table(sites.iter().cloned().map(Entry::Host).collect());
        for name in ["a.x", "b.x", "b.a.x", "x", "c.b.a.x", ""] {
            for path in [
                "/", "/a", "/a/", "/a/b", "/a/b/", "/a//b", "/a//b/c", "/a/b/c/d", "/b", "/abc",
            ] {
                assert_eq!(
                    asked(&table, name, path),
                    as_contracted(&sites, name, path),
                    "{name}{path} of {sites:#?}"
                );
            }
        }
    }
}

/// The kernel's check and the table agree on what keys there are.
#[test]
fn entries_that_pass_the_check_are_all_in_the_table() {
    let entries = [
        pool("a"),
        site(&HostName::Any, vec![route(prefix("/"), "a", None)], None),
    ];
    let ops: Vec<Op> = entries.iter().cloned().map(Op::Set).collect();
    let all = [Tables::Pools, Tables::Hosts, Tables::Certificates];
    check(&ops, &all, &Bounds::default(), &Routing::default()).unwrap();
    assert_eq!(Entry::table_of(&EntryKey::Pool("a".to_owned())), Tables::Pools);
    let table = Table::of(&Routing::with(entries));
    assert_eq!(asked(&table, "anything", "/").as_deref(), Some("a"));
}
