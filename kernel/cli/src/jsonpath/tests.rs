//! The examples of kubectl's documentation, and some that are wrong.
use super::*;
use serde_json::json;

fn store() -> Value {
    json!({
        "kind": "List",
        "items": [
            {"kind": "None", "metadata": {"name": "127.0.0.1", "labels": {"kubernetes.io/hostname": "127.0.0.1"}},
             "status": {"capacity": {"cpu": "4"}, "addresses": [{"type": "LegacyHostIP", "address": "127.0.0.1"}]}},
            {"kind": "None", "metadata": {"name": "127.0.0.2"},
             "status": {"capacity": {"cpu": "8"}, "addresses": [{"type": "a", "address": "127.0.0.2"},
                                                               {"type": "b", "address": "127.0.0.3"}]}}
        ],
        "users": [{"name": "myself", "user": {}, "age": 5}, {"name": "e2e", "user": {"username": "admin"}, "age": 9}]
    })
}

#[test]
fn the_documented_examples() {
    let cases = [
        ("{.kind}", "List"),
        ("kind", "List"),
        (".kind", "List"),
        ("kind is {.kind}!", "kind is List!"),
        ("{.kind}{'\\n'}", "List\n"),
        ("{['kind']}", "List"),
        ("{..name}", "127.0.0.1 127.0.0.2 myself e2e"),
        ("{.items[*].metadata.name}", "127.0.0.1 127.0.0.2"),
        ("{.users[0].name}", "myself"),
        ("{.users[-1].name}", "e2e"),
        ("{.users[0:1].name}", "myself"),
        ("{.users[1:].name}", "e2e"),
        ("{.users[::2].name}", "myself"),
        ("{.users[0,1].name}", "myself e2e"),
        (
            "{.items[*]['metadata.name', 'status.capacity']}",
            "127.0.0.1 {\"cpu\":\"4\"} 127.0.0.2 {\"cpu\":\"8\"}",
        ),
        ("{.users[?(@.name==\"e2e\")].user.username}", "admin"),
        ("{.users[?(@.age>5)].name}", "e2e"),
        ("{.users[?(@.age<=5)].name}", "myself"),
        ("{.users[?(@.user.username)].name}", "e2e"),
        ("{.users[?(@.user.username!='admin')].name}", "myself"),
        (
            "{range .items[*]}[{.metadata.name}, {.status.capacity}] {end}",
            "[127.0.0.1, {\"cpu\":\"4\"}] [127.0.0.2, {\"cpu\":\"8\"}] ",
        ),
        (
            "{range .items[*]}{range .status.addresses[*]}{.address}{\"\\t\"}{end}{end}",
            "127.0.0.1\t127.0.0.2\t127.0.0.3\t",
        ),
        ("{.items[0].metadata.labels.kubernetes\\.io/hostname}", "127.0.0.1"),
        ("{.items[0].metadata.labels['kubernetes.io/hostname']}", "127.0.0.1"),
        ("{$.kind}", "List"),
        ("{@.kind}", "List"),
        ("{.nothing.here}", ""),
        ("{.users[7].name}", ""),
        ("{.users[*].age}", "5 9"),
    ];
    for (template, expected) in cases {
        assert_eq!(
            Template::parse(template).unwrap().render(&store()),
            expected,
            "{template}"
        );
    }
}

#[test]
fn single_paths() {
    for path in [".metadata.name", "{.metadata.name}", "metadata.name"] {
        let found = Path::parse(path).unwrap();
        assert_eq!(found.find(&store()["items"][0]), [&json!("127.0.0.1")], "{path}");
    }
}

#[test]
fn what_is_wrong_says_where() {
    for (template, message, column) in [
        ("{.kind", "unclosed action", 7),
        ("{range .items[*]}x", "range without end", 19),
        ("{end}", "end without range", 6),
        ("{.items[x]}", "invalid array index", 9),
        ("{.items[0}", "unterminated array", 10),
        ("{.items[?(@.a==)]}", "unrecognized literal", 16),
        ("{'x}", "unterminated text", 5),
        ("{.items[0::-1]}", "the step of a slice must be 1 or more", 14),
    ] {
        let wrong = Template::parse(template).unwrap_err();
        assert_eq!((wrong.message.as_str(), wrong.column), (message, column), "{template}");
    }
    assert!(Template::parse(&"{range .x}".repeat(100)).is_err());
}
