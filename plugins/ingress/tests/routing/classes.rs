//! Whose Ingresses are answered for.
use super::*;

fn class(name: &str, controller: &str, year: usize, is_default: bool) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "spec": {"controller": controller},
        "metadata": {"name": name, "creationTimestamp": format!("{year}-01-01T00:00:00Z"),
            "annotations": {"ingressclass.kubernetes.io/is-default-class": is_default.to_string()}}})
}

const OURS: &str = "sampan.dev/ingress";
const ANOTHER: &str = "k8s.io/ingress-nginx";

/// Ingresses by what they say of their class; which of them are answered for.
fn answered(classes: &[Value]) -> Vec<&'static str> {
    let named = ["", "sampan", "edge", "nginx", "annotated"];
    let mut routing = routing(&[]);
    for name in named {
        let mut one = ingress(
            &format!("i{name}"),
            2020,
            &[rule(&format!("{name}x.example"), &[("Prefix", "/", "web")])],
        );
        match name {
            "" => {}
            "annotated" => one["metadata"]["annotations"] = json!({"kubernetes.io/ingress.class": "edge"}),
            name => one["spec"]["ingressClassName"] = json!(name),
        }
        routing.apply(&[one]);
    }
    // Told last, they change what was decided.
    routing.apply(classes);
    routing.agrees_with_a_fresh_one();
    let is_answered = |name: &&str| service_for(&routing, &format!("{name}x.example"), "/") == "web";
    named.into_iter().filter(is_answered).collect()
}

#[test]
fn without_classes_ours_is_the_default() {
    assert_eq!(answered(&[]), ["", "sampan"]);
}

#[test]
fn a_class_is_ours_by_its_controller() {
    assert_eq!(
        answered(&[class("edge", OURS, 2020, false), class("nginx", ANOTHER, 2020, false)]),
        ["", "sampan", "edge", "annotated"]
    );
    assert_eq!(answered(&[class("sampan", ANOTHER, 2020, false)]), [""]);
}

#[test]
fn the_default_class_has_those_that_name_none() {
    assert_eq!(answered(&[class("nginx", ANOTHER, 2020, true)]), ["sampan"]);
    assert_eq!(
        answered(&[class("edge", OURS, 2020, true)]),
        ["", "sampan", "edge", "annotated"]
    );
    // Of several the newest.
    let both = |ours: usize| [class("edge", OURS, ours, true), class("nginx", ANOTHER, 2021, true)];
    assert_eq!(answered(&both(2022)), ["", "sampan", "edge", "annotated"]);
    assert_eq!(answered(&both(2020)), ["sampan", "edge", "annotated"]);
    assert_eq!(
        answered(&both(2021)),
        ["", "sampan", "edge", "annotated"],
        "and then the first"
    );
}
