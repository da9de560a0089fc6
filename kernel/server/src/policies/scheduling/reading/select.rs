//! Selectors and terms in numbers.
use super::{TooMuch, check};
use crate::policies::scheduling::mirror::symbols::Symbols;
use k8s_openapi::{
    api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use sampan_sandbox::scheduler::{MOST_LABELS, NodeTerm, Operator, PodTerm, Requirement};
use std::collections::BTreeMap;

pub type Selector = Vec<Requirement>;

/// A requirement; an operator that is none holds nowhere: nothing has a value of an empty list.
fn requirement<'a>(
    key: &str,
    operator: &str,
    values: impl ExactSizeIterator<Item = &'a String>,
    symbols: &mut Symbols,
) -> Result<Requirement, TooMuch> {
    check("values of a requirement", values.len(), MOST_LABELS)?;
    let operator = match operator {
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::Greater,
        "Lt" => Operator::Less,
        _ => Operator::IsIn,
    };
    let key = symbols.number(key);
    Ok(Requirement {
        key,
        operator,
        values: values.map(|value| symbols.number(value)).collect(),
    })
}

/// Labels that must be so.
pub fn labels(labels: &BTreeMap<String, String>, symbols: &mut Symbols) -> Selector {
    let equal = |(key, value): (&String, &String)| Requirement {
        key: symbols.number(key),
        operator: Operator::IsIn,
        values: vec![symbols.number(value)],
    };
    labels.iter().map(equal).collect()
}

pub fn selector(given: &LabelSelector, symbols: &mut Symbols) -> Result<Selector, TooMuch> {
    let mut all = labels(given.match_labels.as_ref().unwrap_or(&BTreeMap::new()), symbols);
    for expression in given.match_expressions.iter().flatten() {
        let values = expression.values.as_deref().unwrap_or_default().iter();
        all.push(requirement(&expression.key, &expression.operator, values, symbols)?);
    }
    check("requirements of a selector", all.len(), MOST_LABELS)?;
    Ok(all)
}

pub fn node_term(term: &NodeSelectorTerm, symbols: &mut Symbols) -> Result<NodeTerm, TooMuch> {
    let mut read = |all: Option<&Vec<NodeSelectorRequirement>>| {
        let all = all.map(Vec::as_slice).unwrap_or_default();
        check("requirements of a node selector term", all.len(), MOST_LABELS)?;
        let one = |one: &NodeSelectorRequirement| {
            let values = one.values.as_deref().unwrap_or_default().iter();
            requirement(&one.key, &one.operator, values, symbols)
        };
        all.iter().map(one).collect::<Result<Vec<_>, _>>()
    };
    Ok(NodeTerm {
        expressions: read(term.match_expressions.as_ref())?,
        fields: read(term.match_fields.as_ref())?,
    })
}

pub fn pod_term(term: &PodAffinityTerm, symbols: &mut Symbols) -> Result<PodTerm, TooMuch> {
    let namespaces = term.namespaces.as_deref().unwrap_or_default();
    check("namespaces of a term", namespaces.len(), MOST_LABELS)?;
    let mut read = |given: Option<&LabelSelector>| given.map(|given| selector(given, symbols)).transpose();
    let (namespace_selector, selector) = (
        read(term.namespace_selector.as_ref())?,
        read(term.label_selector.as_ref())?,
    );
    let mut numbers = |texts: Option<&Vec<String>>| {
        let texts = texts.map(Vec::as_slice).unwrap_or_default();
        check("label keys of a term", texts.len(), MOST_LABELS)?;
        Ok(texts.iter().map(|text| symbols.number(text)).collect())
    };
    Ok(PodTerm {
        namespaces: numbers(term.namespaces.as_ref())?,
        match_label_keys: numbers(term.match_label_keys.as_ref())?,
        mismatch_label_keys: numbers(term.mismatch_label_keys.as_ref())?,
        topology_key: symbols.number(&term.topology_key),
        namespace_selector,
        selector,
    })
}
