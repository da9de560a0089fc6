//! The address families of a Service and its address in each: what `ipFamilyPolicy`, `ipFamilies` and `clusterIPs` ask for, and
//! what the cluster has. The rules are Kubernetes' own:
//! <https://kubernetes.io/docs/concepts/services-networking/dual-stack/#services>.
use super::ranges::ServiceRanges;
use sampan_api::{ApiError, Cause, ranges};
use sampan_state::Snapshot;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";

/// The `clusterIP` of a Service that has none and wants none.
const NONE: &str = "None";

/// What a Service is to have.
#[derive(Debug)]
pub struct Wanted {
    policy: &'static str,
    /// Whether each is IPv6, the primary one first.
    families: Vec<bool>,
    /// In their order, as far as they are said. None of them if it is headless.
    addresses: Option<Vec<IpAddr>>,
}

fn name(is_v6: bool) -> &'static str {
    if is_v6 { "IPv6" } else { "IPv4" }
}

/// The texts of a list that are not empty.
fn texts(value: &Value) -> Vec<&str> {
    let all = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    all.filter(|text| !text.is_empty()).collect()
}

/// The addresses that a spec names, as texts: those of `clusterIPs`, with `clusterIP` before all.
fn named(spec: &Value) -> Vec<&str> {
    let first = spec["clusterIP"].as_str().filter(|text| !text.is_empty());
    let mut all = texts(&spec["clusterIPs"]);
    if let Some(first) = first {
        match all.first_mut() {
            Some(known) => *known = first,
            None => all.push(first),
        }
    }
    all
}

/// What somebody says of a Service, and what it had before.
struct Reading<'a> {
    spec: &'a Value,
    before: &'a Value,
    ranges: &'a ServiceRanges,
    causes: Vec<Cause>,
}

/// What a Service is to have, by its spec and the one it had.
///
/// # Errors
/// The fields that are wrong.
pub fn wanted(spec: &Value, before: &Value, ranges: &ServiceRanges) -> Result<Wanted, Vec<Cause>> {
    let mut reading = Reading {
        spec,
        before,
        ranges,
        causes: Vec::new(),
    };
    let wanted = reading.read();
    match reading.causes.is_empty() {
        true => Ok(wanted),
        false => Err(reading.causes),
    }
}

impl Reading<'_> {
    fn cause(&mut self, field: &str, message: String) {
        self.causes.push(Cause {
            field: format!("spec.{field}"),
            message,
        });
    }

    fn read(&mut self) -> Wanted {
        let (spec, before) = (self.spec, self.before);
        let is_dual = self.ranges.addresses.is_dual();
        let (mut named, had) = (named(spec), named(before));
        if named.is_empty() {
            named.clone_from(&had);
        }
        let is_headless = named.first() == Some(&NONE);
        let mut addresses = if is_headless {
            Vec::new()
        } else {
            self.addresses(&named)
        };
        let (mut families, said) = self.families(&addresses);
        let asked = self.policy(families.len().max(addresses.len()));
        if families.is_empty() {
            families.push(false);
        }
        // Who asks for one family only gives back what he was given of the other; what he asks for himself he cannot have.
        if asked == SINGLE && families.len().max(addresses.len()) > 1 {
            let kept = texts(&before["ipFamilies"]).starts_with(&texts(&spec["ipFamilies"])) && had.starts_with(&named);
            if !kept {
                let field = if families.len() > 1 { "ipFamilies" } else { "clusterIPs" };
                let message = format!("may have one value only unless ipFamilyPolicy is {PREFER} or {REQUIRE}");
                self.cause(field, message);
            }
            families.truncate(1);
            addresses.truncate(1);
        }
        // Kubernetes leaves endpoints that somebody else writes any family that there is.
        let anything = is_headless && !said && texts(&before["ipFamilies"]).is_empty();
        let no_selector = spec["selector"].as_object().is_none_or(Map::is_empty);
        let policy = match asked {
            "" if anything && no_selector && is_dual => REQUIRE,
            "" => SINGLE,
            policy => policy,
        };
        if policy == REQUIRE && !is_dual {
            self.cause(
                "ipFamilyPolicy",
                format!("this cluster has {} alone: {PREFER} takes what there is", name(false)),
            );
        } else if policy != SINGLE && is_dual && families.len() == 1 {
            families.push(!families[0]);
        }
        self.check(&families, &addresses);
        Wanted {
            policy,
            families,
            addresses: (!is_headless).then_some(addresses),
        }
    }

    /// The addresses that are named; what is none of the cluster's is said.
    fn addresses(&mut self, named: &[&str]) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for (at, text) in named.iter().enumerate() {
            match text.parse::<IpAddr>() {
                Ok(address) if self.ranges.contains(address) => found.push(address),
                parsed => {
                    let is_v6 = parsed.is_ok_and(|address| address.is_ipv6());
                    let all = self.ranges.of_family(is_v6).map(ranges::text);
                    let message = match all {
                        Some(range) => format!("\"{text}\" is no address of {range}: leave it out to be given one"),
                        None => format!("\"{text}\" is of {}, and this cluster has none", name(is_v6)),
                    };
                    match at {
                        0 => self.cause("clusterIP", message),
                        _ => self.cause(&format!("clusterIPs[{at}]"), message),
                    }
                }
            }
        }
        if named.len() > 2 {
            self.cause("clusterIPs", "one of each family at the most".to_owned());
        }
        found
    }

    /// The families that are said, or follow from addresses; whether they are said.
    fn families(&mut self, addresses: &[IpAddr]) -> (Vec<bool>, bool) {
        let mut said = texts(&self.spec["ipFamilies"]);
        if said.is_empty() {
            said = texts(&self.before["ipFamilies"]);
        }
        let mut families = Vec::new();
        for (at, text) in said.iter().enumerate() {
            let field = format!("ipFamilies[{at}]");
            let is_v6 = *text == name(true);
            if !is_v6 && *text != name(false) {
                self.cause(&field, format!("\"{text}\" is no family: expected IPv4 or IPv6"));
            } else if families.contains(&is_v6) {
                self.cause(&field, format!("{text} is there twice"));
            } else {
                families.push(is_v6);
            }
        }
        let is_said = !families.is_empty();
        for address in addresses.iter().skip(families.len()) {
            if !families.contains(&address.is_ipv6()) {
                families.push(address.is_ipv6());
            }
        }
        (families, is_said)
    }

    /// The policy that is asked for; empty if none is. Who names two of something wants two.
    fn policy(&mut self, count: usize) -> &'static str {
        let said = |spec: &Value| spec["ipFamilyPolicy"].as_str().map(str::to_owned);
        let Some(text) = said(self.spec).or_else(|| said(self.before)) else {
            return if count > 1 { REQUIRE } else { "" };
        };
        let known = [SINGLE, PREFER, REQUIRE].into_iter().find(|known| *known == text);
        known.unwrap_or_else(|| {
            let message = format!("\"{text}\" is no policy: expected {SINGLE}, {PREFER} or {REQUIRE}");
            self.cause("ipFamilyPolicy", message);
            SINGLE
        })
    }

    fn check(&mut self, families: &[bool], addresses: &[IpAddr]) {
        for (at, is_v6) in families.iter().enumerate() {
            if self.ranges.of_family(*is_v6).is_none() {
                let message = format!("this cluster has no {}", name(*is_v6));
                self.cause(&format!("ipFamilies[{at}]"), message);
            }
        }
        for (at, (is_v6, address)) in families.iter().zip(addresses).enumerate() {
            if address.is_ipv6() != *is_v6 {
                let message = format!("{address} is not of {}, as ipFamilies[{at}] says", name(*is_v6));
                self.cause(&format!("clusterIPs[{at}]"), message);
            }
        }
        let primary = texts(&self.before["ipFamilies"])
            .first()
            .map(|text| *text == name(true));
        let had_address = !named(self.before).is_empty();
        if had_address && primary.is_some_and(|primary| Some(&primary) != families.first()) {
            let message = "field is immutable: delete the Service and create it again".to_owned();
            self.cause("ipFamilies[0]", message);
        }
    }
}

impl Wanted {
    /// Writes it into the spec, with free addresses for what none is said of.
    ///
    /// # Errors
    /// `Forbidden` if nothing is free.
    pub fn give(self, spec: &mut Map<String, Value>, ranges: &ServiceRanges, state: &Snapshot) -> Result<(), ApiError> {
        let mut given: Vec<String> = Vec::new();
        match &self.addresses {
            None => given.push(NONE.to_owned()),
            Some(addresses) => {
                for (at, is_v6) in self.families.iter().enumerate() {
                    let said = addresses.get(at).copied().map(Ok);
                    let free = || {
                        let range = ranges.of_family(*is_v6);
                        range.map(|range| ranges.free_address(range, state))
                    };
                    if let Some(address) = said.or_else(free) {
                        given.push(address?.to_string());
                    }
                }
            }
        }
        spec.insert("clusterIP".to_owned(), json!(given.first()));
        spec.insert("clusterIPs".to_owned(), json!(given));
        let families: Vec<&str> = self.families.iter().map(|is_v6| name(*is_v6)).collect();
        spec.insert("ipFamilies".to_owned(), json!(families));
        spec.insert("ipFamilyPolicy".to_owned(), json!(self.policy));
        Ok(())
    }
}
