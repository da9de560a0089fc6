//! The rules of what a pod is called and whom it asks for names: its host name, hosts that it knows, and its DNS.
use super::{
    add, list,
    names::{bad_dns_label, bad_name, is_dns_label, is_name},
    one_of,
};
use crate::Cause;
use ::core::net::IpAddr;
use serde_json::Value;

/// What resolvers take: name servers, search domains, and characters of these in all.
const MOST_SERVERS: usize = 3;
const MOST_SEARCHES: usize = 32;
const LONGEST_SEARCHES: usize = 2048;

/// `path` is where the pod's spec is.
pub(super) fn hosts(path: &str, spec: &Value, causes: &mut Vec<Cause>) {
    for (field, what) in [("hostname", "host name"), ("subdomain", "subdomain")] {
        let text = spec[field].as_str().unwrap_or_default();
        if !text.is_empty() && !is_dns_label(text) {
            add(format!("{path}.{field}"), bad_dns_label(text, what), causes);
        }
    }
    for (at, alias) in list(&spec["hostAliases"]) {
        let at = format!("{path}.hostAliases[{at}]");
        address(format!("{at}.ip"), &alias["ip"], causes);
        for (number, name) in list(&alias["hostnames"]) {
            let name = name.as_str().unwrap_or_default();
            if !is_name(name) {
                add(format!("{at}.hostnames[{number}]"), bad_name(name), causes);
            }
        }
    }
    dns(path, spec, causes);
}

fn address(field: String, value: &Value, causes: &mut Vec<Cause>) {
    let text = value.as_str().unwrap_or_default();
    if text.parse::<IpAddr>().is_err() {
        let message = format!("\"{text}\" is no address: expected one as in 192.0.2.1");
        add(field, message, causes);
    }
}

fn dns(path: &str, spec: &Value, causes: &mut Vec<Cause>) {
    let known = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    one_of(&format!("{path}.dnsPolicy"), &spec["dnsPolicy"], &known, causes);
    let config = &spec["dnsConfig"];
    let at = |field: &str| format!("{path}.dnsConfig.{field}");
    let servers = list(&config["nameservers"]).count();
    if spec["dnsPolicy"] == "None" && servers == 0 {
        let message = "required where dnsPolicy is None: at least one address";
        add(at("nameservers"), message, causes);
    }
    if servers > MOST_SERVERS {
        let message = format!("{servers} are too many: {MOST_SERVERS} at most");
        add(at("nameservers"), message, causes);
    }
    for (number, server) in list(&config["nameservers"]) {
        address(at(&format!("nameservers[{number}]")), server, causes);
    }
    let searches: Vec<&str> = list(&config["searches"]).filter_map(|(_, one)| one.as_str()).collect();
    if searches.len() > MOST_SEARCHES {
        let message = format!("{} are too many: {MOST_SEARCHES} at most", searches.len());
        add(at("searches"), message, causes);
    }
    let length = searches.join(" ").len();
    if length > LONGEST_SEARCHES {
        let message =
            format!("{length} characters with the spaces between them are too many: {LONGEST_SEARCHES} at most");
        add(at("searches"), message, causes);
    }
    for (number, search) in searches.iter().enumerate().filter(|(_, search)| !is_search(search)) {
        add(at(&format!("searches[{number}]")), bad_name(search), causes);
    }
    for (number, option) in list(&config["options"]) {
        if option["name"].as_str().is_none_or(str::is_empty) {
            add(at(&format!("options[{number}].name")), "required", causes);
        }
    }
}

/// A domain to look in: the root, or a name that may have the root's dot, and underscores, as those of services on a network do.
fn is_search(search: &str) -> bool {
    search == "." || is_name(&search.strip_suffix('.').unwrap_or(search).replace('_', "x"))
}

#[cfg(test)]
mod tests {
    use crate::validate::manifest;
    use serde_json::{Value, json};

    /// Fields without their beginning, and words.
    fn wrong(more: &Value) -> Vec<(String, String)> {
        let mut spec = json!({"containers": [{"name": "c", "image": "i"}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec});
        let causes = manifest(pod.to_string().as_bytes()).map_or_else(|error| error.causes, |_| Vec::new());
        let short = |field: String| field.strip_prefix("spec.").unwrap().to_owned();
        causes
            .into_iter()
            .map(|cause| (short(cause.field), cause.message))
            .collect()
    }

    fn all(cases: &[(Value, &str, &str)]) {
        for (more, field, said) in cases {
            let wrong = wrong(more);
            let [(at, message)] = &wrong[..] else {
                panic!("{more}: {wrong:?}")
            };
            assert!(at == field && message.contains(said), "{more}: {at}: {message}");
        }
    }

    #[test]
    fn what_is_right_is_let_in() {
        let most = vec!["a.example"; 32];
        for more in [
            json!({"hostname": "db-0", "subdomain": "db", "setHostnameAsFQDN": true}),
            json!({"hostname": "", "subdomain": ""}),
            json!({"hostAliases": [{"ip": "192.0.2.1", "hostnames": ["a", "a.example"]}, {"ip": "fd42::1"}]}),
            json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1", "fd42::1", "192.0.2.2"]}}),
            json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true}),
            json!({"dnsConfig": {"searches": most, "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
            json!({"dnsConfig": {"searches": [".", "example.org.", "_tcp.example.org"]}}),
        ] {
            assert_eq!(wrong(&more), [], "{more}");
        }
    }

    #[test]
    fn pods_are_called_by_labels() {
        all(&[
            (
                json!({"hostname": "Not_Good"}),
                "hostname",
                "\"Not_Good\" is no host name: lower-case letters",
            ),
            (json!({"hostname": "a.b"}), "hostname", "63 at most"),
            (
                json!({"subdomain": "Not_Good"}),
                "subdomain",
                "\"Not_Good\" is no subdomain",
            ),
            (
                json!({"hostAliases": [{"ip": "nope", "hostnames": ["a"]}]}),
                "hostAliases[0].ip",
                "\"nope\" is no address",
            ),
            (
                json!({"hostAliases": [{"ip": "::1"}, {"ip": "::1", "hostnames": ["a", "a b"]}]}),
                "hostAliases[1].hostnames[1]",
                "\"a b\" is no name",
            ),
        ]);
    }

    #[test]
    fn whom_they_ask_is_said_within_what_resolvers_take() {
        let config = |config: Value| json!({ "dnsConfig": config });
        let long: Vec<String> = (0..30)
            .map(|number| format!("{}{number:02}", "a.".repeat(34)))
            .collect();
        all(&[
            (
                json!({"dnsPolicy": "Whatever"}),
                "dnsPolicy",
                "is not one of ClusterFirst, ClusterFirstWithHostNet, Default, None",
            ),
            (
                json!({"dnsPolicy": "None"}),
                "dnsConfig.nameservers",
                "required where dnsPolicy is None",
            ),
            (
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": []}}),
                "dnsConfig.nameservers",
                "at least one",
            ),
            (
                config(json!({"nameservers": ["192.0.2.1", "1.1.1"]})),
                "dnsConfig.nameservers[1]",
                "\"1.1.1\" is no address",
            ),
            (
                config(json!({"nameservers": ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]})),
                "dnsConfig.nameservers",
                "4 are too many: 3 at most",
            ),
            (
                config(json!({"searches": vec!["a"; 33]})),
                "dnsConfig.searches",
                "33 are too many: 32 at most",
            ),
            (config(json!({"searches": long})), "dnsConfig.searches", "2048 at most"),
            (
                config(json!({"searches": ["a", "b c"]})),
                "dnsConfig.searches[1]",
                "\"b c\" is no name",
            ),
            (
                config(json!({"options": [{"value": "2"}]})),
                "dnsConfig.options[0].name",
                "required",
            ),
        ]);
    }
}
