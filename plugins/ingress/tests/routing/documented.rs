//! Kubernetes' own tables of what matches: <https://kubernetes.io/docs/concepts/services-networking/ingress/>.
use super::*;

/// A type, the paths that are asked of, a request, and the path that it matches.
const EXAMPLES: &[(&str, &[&str], &str, &str)] = &[
    ("Prefix", &["/"], "/any/path", "/"),
    ("Exact", &["/foo"], "/foo", "/foo"),
    ("Exact", &["/foo"], "/bar", "none"),
    ("Exact", &["/foo"], "/foo/", "none"),
    ("Exact", &["/foo/"], "/foo", "none"),
    ("Prefix", &["/foo"], "/foo", "/foo"),
    ("Prefix", &["/foo"], "/foo/", "/foo"),
    ("Prefix", &["/foo/"], "/foo", "/foo/"),
    ("Prefix", &["/foo/"], "/foo/", "/foo/"),
    ("Prefix", &["/aaa/bb"], "/aaa/bbb", "none"),
    ("Prefix", &["/aaa/bbb"], "/aaa/bbb", "/aaa/bbb"),
    ("Prefix", &["/aaa/bbb/"], "/aaa/bbb", "/aaa/bbb/"),
    ("Prefix", &["/aaa/bbb"], "/aaa/bbb/", "/aaa/bbb"),
    ("Prefix", &["/aaa/bbb"], "/aaa/bbb/ccc", "/aaa/bbb"),
    ("Prefix", &["/aaa/bbb"], "/aaa/bbbxyz", "none"),
    ("Prefix", &["/", "/aaa"], "/aaa/ccc", "/aaa"),
    ("Prefix", &["/", "/aaa", "/aaa/bbb"], "/aaa/bbb", "/aaa/bbb"),
    ("Prefix", &["/", "/aaa", "/aaa/bbb"], "/ccc", "/"),
    ("Prefix", &["/aaa"], "/ccc", "none"),
    ("Prefix", &["/aaa"], "/AAA", "none"),
];

#[test]
fn paths_match_as_documented() {
    for (kind, paths, asked, expected) in EXAMPLES {
        let named: Vec<(&str, &str, &str)> = paths.iter().map(|path| (*kind, *path, *path)).collect();
        let routing = routing(&[ingress("web", 2020, &[rule("", &named)])]);
        assert_eq!(
            service_for(&routing, "a.example", asked),
            *expected,
            "{kind} {paths:?} {asked}"
        );
    }
    let mixed = rule("", &[("Prefix", "/foo", "prefix"), ("Exact", "/foo", "exact")]);
    let routing = routing(&[ingress("web", 2020, &[mixed])]);
    assert_eq!(service_for(&routing, "a.example", "/foo"), "exact");
    assert_eq!(service_for(&routing, "a.example", "/foo/bar"), "prefix");
}

#[test]
fn hosts_match_as_documented() {
    let rules = [
        rule("*.foo.com", &[("Prefix", "/", "wildcard")]),
        rule("bar.foo.com", &[("Prefix", "/exact", "exact")]),
        rule("", &[("Prefix", "/any", "any")]),
    ];
    let routing = routing(&[ingress("web", 2020, &rules)]);
    for (name, path, expected) in [
        ("bar.foo.com", "/exact", "exact"),
        ("bar.foo.com", "/other", "wildcard"),
        ("other.foo.com", "/exact", "wildcard"),
        ("baz.bar.foo.com", "/exact", "none"),
        ("foo.com", "/exact", "none"),
        ("foo.com", "/any/thing", "any"),
        ("bar.foo.com", "/any", "wildcard"),
        ("", "/any", "any"),
    ] {
        assert_eq!(service_for(&routing, name, path), expected, "{name}{path}");
    }
}

#[test]
fn the_default_backend_answers_what_nothing_matches() {
    let mut of_a = ingress("a", 2022, &[rule("a.example", &[("Prefix", "/x", "x")])]);
    of_a["spec"]["defaultBackend"] = backend("default-a");
    let mut of_b = ingress("b", 2021, &[rule("b.example", &[])]);
    of_b["spec"]["defaultBackend"] = backend("default-b");
    let mut of_all = ingress("all", 2023, &[]);
    of_all["spec"]["defaultBackend"] = backend("default-all");
    let any = ingress("any", 2024, &[rule("", &[("Exact", "/any", "any")])]);
    let mut routing = routing(&[of_a, of_b, of_all, any]);
    let asked = |routing: &Routing<Ingress>| {
        let one = |name, path| service_for(routing, name, path);
        [
            one("a.example", "/x"),
            one("a.example", "/y"),
            one("b.example", "/x"),
            one("c.example", "/x"),
            one("a.example", "/any"),
        ]
    };
    assert_eq!(asked(&routing), ["x", "default-a", "default-b", "default-all", "any"]);
    // Where nobody has one for all hosts alone, the oldest has it.
    routing.delete("Ingress", "default", "all");
    assert_eq!(asked(&routing), ["x", "default-a", "default-b", "default-b", "any"]);
    routing.delete("Ingress", "default", "b");
    assert_eq!(asked(&routing), ["x", "default-a", "default-a", "default-a", "any"]);
}

#[test]
fn of_what_is_said_twice_the_older_has_it() {
    let one = |name: &str, year: usize| ingress(name, year, &[rule("a.example", &[("Prefix", "/x/", name)])]);
    let mut routing = routing(&[one("young", 2023), one("old", 2021), one("also-old", 2021)]);
    assert_eq!(service_for(&routing, "a.example", "/x"), "also-old");
    routing.delete("Ingress", "default", "also-old");
    assert_eq!(service_for(&routing, "a.example", "/x"), "old");
    routing.delete("Ingress", "default", "old");
    assert_eq!(service_for(&routing, "a.example", "/x"), "young");
    routing.delete("Ingress", "default", "young");
    assert!(routing.entries().is_empty(), "{:?}", routing.entries());
}

#[test]
fn certificates_are_those_of_hosts() {
    let mut web = ingress("web", 2022, &[rule("a.example", &[("Prefix", "/", "web")])]);
    web["spec"]["tls"] = json!([{"hosts": ["a.example", "*.b.example"], "secretName": "ab"}, {"secretName": "all"},
        {"hosts": ["c.example"]}]);
    let mut older = ingress("older", 2021, &[]);
    older["spec"]["tls"] = json!([{"hosts": ["a.example"], "secretName": "older"}]);
    let mut routing = routing(&[web, older]);
    assert_eq!(
        certificates(&routing),
        [
            "HostName::Exact(\"a.example\") older",
            "HostName::Wildcard(\"b.example\") ab",
            "HostName::Any all"
        ]
    );
    routing.delete("Ingress", "default", "older");
    assert_eq!(certificates(&routing)[0], "HostName::Exact(\"a.example\") ab");
}

#[test]
fn annotations_rewrite_and_filter() {
    let with = |annotations: Value| {
        let mut web = ingress("web", 2020, &[rule("", &[("Prefix", "/api", "web")])]);
        web["metadata"]["annotations"] = annotations;
        let route = hosts(&routing(&[web]))[0].routes[0].clone();
        (route.rewrite, route.filter)
    };
    assert_eq!(with(Value::Null), (None, None));
    let both = json!({"ingress.sampan.dev/rewrite": "/v2", "ingress.sampan.dev/filter": "limits"});
    assert_eq!(with(both), (Some("/v2".to_owned()), Some("limits".to_owned())));
    // What the kernel would not take: no plan is lost for it, and no filter is left out.
    let bad = json!({"ingress.sampan.dev/rewrite": "v2?", "ingress.sampan.dev/filter": "../x"});
    assert_eq!(with(bad), (None, Some("no-name".to_owned())));
}

/// What validation lets nobody write may still be in an old state: it is left out, and the rest goes on.
#[test]
fn what_cannot_be_is_left_out() {
    let rules = [
        rule("Not A Host", &[("Prefix", "/", "bad")]),
        rule("*.", &[("Prefix", "/", "bad")]),
        rule(
            "a.example",
            &[
                ("Prefix", "no-slash", "bad"),
                ("Regex", "/x", "bad"),
                ("ImplementationSpecific", "", "good"),
            ],
        ),
    ];
    let long = format!("/{}", "x".repeat(16 << 10));
    let routing = routing(&[
        ingress("web", 2020, &rules),
        ingress("long", 2020, &[rule("a.example", &[("Exact", &long, "bad")])]),
    ]);
    let found = hosts(&routing);
    assert_eq!((found.len(), found[0].routes.len()), (1, 1));
    assert_eq!(service_for(&routing, "a.example", "/x"), "good");
}
