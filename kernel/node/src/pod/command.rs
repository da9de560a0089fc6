//! What a container runs, and `$(NAME)` in it.
use k8s_openapi::api::core::v1 as core;
use std::collections::BTreeMap;

/// Replaces `$(NAME)` by the variable of that name. `$$` is `$`; a name that is not known stays as it is.
pub fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match variables.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// The arguments of a container's program, the program first. A `command` replaces the image's entrypoint and its
/// arguments; `args` alone replace the image's arguments.
pub fn arguments(
    container: &core::Container,
    (entrypoint, cmd): (&[String], &[String]),
    variables: &BTreeMap<String, String>,
) -> Vec<String> {
    let given = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
    let expanded = |list: Vec<String>| list.iter().map(|text| expand(text, variables)).collect::<Vec<_>>();
    let (command, args) = (
        given(&container.command).map(expanded),
        given(&container.args).map(expanded),
    );
    match (command, args) {
        (Some(command), args) => command.into_iter().chain(args.into_iter().flatten()).collect(),
        (None, Some(args)) => entrypoint.iter().cloned().chain(args).collect(),
        (None, None) => entrypoint.iter().chain(cmd).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expansion_as_kubernetes_does_it() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("B".to_owned(), "$(A)".to_owned())]);
        for (text, expected) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(B)", "$(A)"),
            ("$(NO)", "$(NO)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A ${A} $", "$A ${A} $"),
            ("$(A", "$(A"),
            ("", ""),
            ("ü$(A)ü", "ü1ü"),
        ] {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }

    #[test]
    fn command_and_args_over_the_image() {
        let of = |spec: serde_json::Value| {
            let mut spec = spec;
            spec["name"] = json!("c");
            let container: core::Container = serde_json::from_value(spec).unwrap();
            let image = (["/entry".to_owned()], ["cmd".to_owned()]);
            let variables = BTreeMap::from([("V".to_owned(), "v".to_owned())]);
            arguments(&container, (&image.0, &image.1), &variables).join(" ")
        };
        assert_eq!(of(json!({})), "/entry cmd");
        assert_eq!(of(json!({"args": ["a", "$(V)"]})), "/entry a v");
        assert_eq!(of(json!({"command": ["/sh"]})), "/sh");
        assert_eq!(of(json!({"command": ["/sh", "$(V)"], "args": ["-c"]})), "/sh v -c");
    }
}
