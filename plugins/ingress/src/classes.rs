//! Which Ingresses are ours: those of a class whose controller we are, or of none where our class is the default one.
use sampan_sdk::{
    ingress::{Name, View},
    network::{Ingress, IngressClass},
};

/// Our class where there is no object of that name.
const CLASS: &str = "sampan";

/// What IngressClasses name us by.
const CONTROLLER: &str = "sampan.dev/ingress";

/// Where an Ingress names its class if its spec does not.
const ANNOTATION: &str = "kubernetes.io/ingress.class";

/// What makes a class the default one.
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

/// Whether an Ingress is ours to answer for.
pub fn is_ours(ingress: &Ingress, view: &View) -> bool {
    let spec = Some(ingress.spec.ingress_class_name.as_str()).filter(|name| !name.is_empty());
    let annotation = || ingress.metadata.annotations.get(ANNOTATION).map(String::as_str);
    match spec.or_else(annotation) {
        Some(class) => match view.ingress_classes.get(&Name::new("", class)) {
            Some(class) => class.spec.controller == CONTROLLER,
            None => class == CLASS,
        },
        None => default_class(view).is_none_or(|class| class.spec.controller == CONTROLLER),
    }
}

/// The class of those that name none; of several the newest, as in Kubernetes, and then the first by name.
fn default_class(view: &View) -> Option<&IngressClass> {
    let is_default = |class: &IngressClass| {
        class
            .metadata
            .annotations
            .get(DEFAULT)
            .is_some_and(|said| said == "true")
    };
    let defaults = view.ingress_classes.values().filter(|class| is_default(class)).rev();
    defaults.max_by(|a, b| a.metadata.creation_timestamp.cmp(&b.metadata.creation_timestamp))
}
