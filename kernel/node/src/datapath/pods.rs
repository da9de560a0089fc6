//! The pods of this node: what each may send from, and by which address its rules are found.
use super::{
    changes::Changes,
    nft::{Element, Verdict},
    policies::Policies,
    row::named,
    settings::{interface, octets},
};
use sampan_sandbox::network::{Address, PodKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// How a pod of this node is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLink {
    /// The node's end of its wire.
    pub interface: String,
    pub addresses: Vec<IpAddr>,
}

pub(super) type Pods = imbl::OrdMap<PodKey, PodLink>;

/// Elements of pods, by set and key.
type Elements = BTreeMap<(String, Vec<u8>), Element>;

/// What is in sets because of pods.
fn elements(pods: &Pods, policies: &Policies) -> Result<Elements, (PodKey, String)> {
    let mut found = Elements::new();
    let mut put = |name: String, element: Element| {
        found.insert((name, element.key.clone()), element);
    };
    for (key, link) in pods {
        let name = interface(&link.interface).map_err(|why| (key.clone(), why))?;
        let (ingress, egress) = policies.chains(key);
        let addresses: BTreeSet<IpAddr> = link.addresses.iter().copied().collect();
        for address in addresses {
            let family = Address::from(address).family();
            let bytes = octets(address.into());
            put(
                named("senders", family),
                Element::key([name.as_slice(), &bytes].concat()),
            );
            put(
                named("hairpins", family),
                Element::key([bytes.as_slice(), &bytes].concat()),
            );
            for (set, chain) in [("rules-in", &ingress), ("rules-out", &egress)] {
                if let Some(chain) = chain {
                    let jump = Verdict::Jump(chain.clone());
                    put(named(set, family), Element::verdict(bytes.clone(), jump));
                }
            }
            if address.is_ipv6() {
                put("speakers".to_owned(), Element::key(name.clone()));
            }
        }
    }
    Ok(found)
}

/// Brings the sets from some pods and their rules to others; says which pod cannot be, and why.
pub(super) fn change(
    (old, old_policies): (&Pods, &Policies),
    (new, new_policies): (&Pods, &Policies),
    changes: &mut Changes,
) -> Result<(), (PodKey, String)> {
    let (had, has) = (elements(old, old_policies)?, elements(new, new_policies)?);
    changes.comes_from_nowhere();
    for ((set, _), element) in had.iter().filter(|(at, element)| has.get(*at) != Some(*element)) {
        changes.remove(set, Element::key(element.key.clone()));
    }
    for ((set, _), element) in has.iter().filter(|(at, element)| had.get(*at) != Some(*element)) {
        changes.add(set, element.clone());
    }
    Ok(())
}
