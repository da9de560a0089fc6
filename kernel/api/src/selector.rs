//! Selectors: labels as on a command line and as in a manifest, fields, and what a list or a watch selects.
use crate::{ApiError, Key, Object};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as LabelSelectorJson;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// One demand on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, BTreeSet<String>),
    /// Also where the label is absent.
    NotIn(String, BTreeSet<String>),
    Exists(String),
    Absent(String),
}

/// Demands on labels, all of which must hold. The empty one holds for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Reads `app=web,tier in (a,b),env!=prod,key,!key`.
    ///
    /// # Errors
    /// `BadRequest` naming the part that cannot be read.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let parts = split_outside_parentheses(text);
        let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
        Ok(LabelSelector {
            requirements: parts.map(parse_requirement).collect::<Result<_, _>>()?,
        })
    }

    /// From a manifest's `selector`.
    ///
    /// # Errors
    /// `BadRequest` for an operator that is none.
    pub fn from_json(json: &LabelSelectorJson) -> Result<Self, ApiError> {
        let mut requirements: Vec<_> = json.match_labels.iter().flatten().map(|(k, v)| equals(k, v)).collect();
        for expression in json.match_expressions.iter().flatten() {
            let key = expression.key.clone();
            let values = expression.values.iter().flatten().cloned().collect();
            requirements.push(match expression.operator.as_str() {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::Absent(key),
                other => {
                    let expected = "expected In, NotIn, Exists or DoesNotExist";
                    return Err(ApiError::bad_request(format!(
                        "\"{other}\" is no operator of a selector: {expected}"
                    )));
                }
            });
        }
        Ok(LabelSelector { requirements })
    }

    /// That of an object which chooses others by `spec.selector`; none where it takes nobody. A Service's names labels alone, and
    /// an empty one takes nobody; an empty one of any other kind takes all.
    pub fn of(object: &Object) -> Option<Self> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Spec<T> {
            selector: Option<T>,
        }
        if object.kind == "Service" {
            let labels = object.field::<Spec<BTreeMap<String, String>>>("spec").ok()?.selector?;
            let requirements: Vec<_> = labels.iter().map(|(k, v)| equals(k, v)).collect();
            return (!requirements.is_empty()).then_some(LabelSelector { requirements });
        }
        let json = object.field::<Spec<LabelSelectorJson>>("spec").ok()?.selector?;
        LabelSelector::from_json(&json).ok()
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        })
    }
}

fn equals(key: &str, value: &str) -> Requirement {
    Requirement::In(key.to_owned(), BTreeSet::from([value.to_owned()]))
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_requirement(part: &str) -> Result<Requirement, ApiError> {
    let wrong = || {
        let forms = "expected key=value, key!=value, key in (a,b), key notin (a,b), key or !key";
        ApiError::bad_request(format!("cannot read \"{part}\" as a part of a label selector: {forms}"))
    };
    let key = |text: &str| {
        let text = text.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if text.is_empty() || !text.chars().all(plain) {
            Err(wrong())
        } else {
            Ok(text.to_owned())
        }
    };
    if let Some((left, right)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(
            key(left)?,
            BTreeSet::from([right.trim().to_owned()]),
        ));
    }
    if let Some((left, right)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(equals(&key(left)?, right.trim()));
    }
    if let Some(list) = part.strip_suffix(')') {
        let (head, values) = list.split_once('(').ok_or_else(wrong)?;
        let values = values.split(',').map(|v| v.trim().to_owned()).collect();
        let head = head.trim();
        return match (head.strip_suffix(" notin"), head.strip_suffix(" in")) {
            (Some(name), _) => Ok(Requirement::NotIn(key(name)?, values)),
            (_, Some(name)) => Ok(Requirement::In(key(name)?, values)),
            _ => Err(wrong()),
        };
    }
    match part.strip_prefix('!') {
        Some(name) => Ok(Requirement::Absent(key(name)?)),
        None => Ok(Requirement::Exists(key(part)?)),
    }
}

/// Demands on some fields, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// Path, whether it must be equal, value.
    requirements: Vec<(String, bool, String)>,
}

impl FieldSelector {
    /// Reads `spec.nodeName=n1,status.phase!=Running`.
    ///
    /// # Errors
    /// `BadRequest` naming the part that cannot be read.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let mut requirements = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (path, equal, value) = match (part.split_once("!="), part.split_once('=')) {
                (Some((path, value)), _) => (path, false, value),
                (None, Some((path, value))) => (path, true, value.trim_start_matches('=')),
                (None, None) => {
                    let message = format!("cannot read \"{part}\" as a part of a field selector: expected path=value");
                    return Err(ApiError::bad_request(message));
                }
            };
            requirements.push((path.trim().to_owned(), equal, value.trim().to_owned()));
        }
        Ok(FieldSelector { requirements })
    }

    pub fn matches(&self, object: &Object) -> bool {
        self.requirements
            .iter()
            .all(|(path, equal, value)| (field_text(object, path) == *value) == *equal)
    }
}

/// The text at a path; empty where there is none.
fn field_text(object: &Object, path: &str) -> String {
    match path {
        "metadata.name" => return object.metadata.name.clone(),
        "metadata.namespace" => return object.metadata.namespace.clone(),
        "metadata.uid" => return object.metadata.uid.clone(),
        _ => {}
    }
    let (field, rest) = path.split_once('.').unwrap_or((path, ""));
    let value = object.field_value(field);
    let pointer: String = rest
        .split('.')
        .filter(|p| !p.is_empty())
        .map(|p| format!("/{p}"))
        .collect();
    match value.pointer(&pointer) {
        Some(serde_json::Value::String(text)) => text.clone(),
        None | Some(serde_json::Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

/// What a list or a watch is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// `*` is every resource.
    pub resource: String,
    /// All where empty.
    pub namespace: String,
    pub labels: LabelSelector,
    pub fields: FieldSelector,
}

impl Selection {
    /// All objects of a resource.
    pub fn of(resource: &str) -> Self {
        Selection {
            resource: resource.to_owned(),
            ..Selection::default()
        }
    }

    /// Whether the key alone lets it in.
    pub fn matches_key(&self, key: &Key) -> bool {
        (self.resource == "*" || *self.resource == *key.resource)
            && (self.namespace.is_empty() || *self.namespace == *key.namespace)
    }

    pub fn matches(&self, key: &Key, object: &Object) -> bool {
        self.matches_key(key) && self.labels.matches(&object.metadata.labels) && self.fields.matches(object)
    }
}

impl TryFrom<&crate::rpc::Selection> for Selection {
    type Error = ApiError;
    fn try_from(message: &crate::rpc::Selection) -> Result<Self, ApiError> {
        Ok(Selection {
            resource: message.resource.clone(),
            namespace: message.namespace.clone(),
            labels: LabelSelector::parse(&message.label_selector)?,
            fields: FieldSelector::parse(&message.field_selector)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        text.split(',')
            .filter_map(|p| p.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    #[test]
    fn label_selectors_select() {
        let cases = [
            ("", "a=1", true),
            ("a=1", "a=1", true),
            ("a==1,b!=2", "a=1", true),
            ("a in (1, 2),b notin (3)", "a=2,b=4", true),
            ("a in (1,2)", "a=3", false),
            ("!a", "a=1", false),
            ("a,!b", "a=1", true),
            ("example.com/x=y", "example.com/x=y", true),
        ];
        for (selector, set, expected) in cases {
            assert_eq!(
                LabelSelector::parse(selector).unwrap().matches(&labels(set)),
                expected,
                "{selector} on {set}"
            );
        }
        for wrong in ["a b", "=x", "a in 1,2)", "a like (b)"] {
            assert!(LabelSelector::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn objects_choose_others() {
        let labelled = labels("app=web,tier=front");
        let cases = [
            ("v1", "Service", r#"{"app":"web"}"#, true),
            ("v1", "Service", r#"{"app":"web","tier":"back"}"#, false),
            ("v1", "Service", "{}", false),
            ("v1", "Service", "null", false),
            ("apps/v1", "ReplicaSet", r#"{"matchLabels":{"app":"web"}}"#, true),
            (
                "apps/v1",
                "ReplicaSet",
                r#"{"matchExpressions":[{"key":"tier","operator":"NotIn","values":["front"]}]}"#,
                false,
            ),
            ("policy/v1", "PodDisruptionBudget", "{}", true),
            ("policy/v1", "PodDisruptionBudget", "null", false),
        ];
        for (version, kind, selector, expected) in cases {
            let json = format!(
                r#"{{"apiVersion":"{version}","kind":"{kind}","metadata":{{"name":"a"}},"spec":{{"selector":{selector}}}}}"#
            );
            let object = Object::from_json(json.as_bytes()).unwrap();
            let takes = LabelSelector::of(&object).is_some_and(|selector| selector.matches(&labelled));
            assert_eq!(takes, expected, "{kind} {selector}");
        }
    }

    #[test]
    fn field_selectors_select() {
        let pod = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"nodeName":"n1"}}"#;
        let pod = Object::from_json(pod).unwrap();
        for (selector, expected) in [
            ("spec.nodeName=n1", true),
            ("spec.nodeName!=n1", false),
            ("status.phase=", true),
        ] {
            assert_eq!(
                FieldSelector::parse(selector).unwrap().matches(&pod),
                expected,
                "{selector}"
            );
        }
    }
}
