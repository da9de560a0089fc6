//! What may be said to pods, and by them: a chain for each pod and direction, over sets of peers.
use super::{
    changes::Changes,
    frontends::protocol,
    intervals::{self, Intervals},
    layout::ranges,
    nft::{
        Expression, Verdict,
        expression::{Layer, Meta},
    },
    row::{FAMILIES, Row, SCRATCH, named, rule, verdict},
};
use imbl::OrdMap;
use sampan_sandbox::network::{EntryKey, Family, PeerSet, PodKey, PodRules, Ports, Rule};
use std::{collections::BTreeMap, sync::Arc};

/// Rules of the kernel that the rules of one pod may come to.
const MOST_RULES: usize = 50_000;

/// The addresses that rules name, by family.
struct Peers {
    id: u32,
    v4: Intervals,
    v6: Intervals,
}

impl Peers {
    fn of(&self, family: Family) -> &Intervals {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

fn set_name(id: u32, family: Family) -> String {
    format!("{}-{id}", named("peers", family))
}

struct Ruled {
    id: u32,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
}

impl Ruled {
    fn directions(&self) -> [(&'static str, Option<&Vec<Rule>>); 2] {
        [("in", self.ingress.as_ref()), ("out", self.egress.as_ref())]
    }
}

/// Why rules cannot be.
pub(super) type Unfit = (EntryKey, String);

#[derive(Clone, Default)]
pub(super) struct Policies {
    peers: OrdMap<String, Arc<Peers>>,
    rules: OrdMap<PodKey, Arc<Ruled>>,
    next: u32,
}

impl Policies {
    /// The chains of a pod: of what is said to it, and by it.
    pub(super) fn chains(&self, pod: &PodKey) -> (Option<String>, Option<String>) {
        let Some(ruled) = self.rules.get(pod) else {
            return (None, None);
        };
        let [ingress, egress] = ruled
            .directions()
            .map(|(name, rules)| rules.map(|_| format!("{name}-{}", ruled.id)));
        (ingress, egress)
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Takes in changed sets of peers. Those that go must not be named by rules any more once all is taken in.
    pub(super) fn change_peers<'a>(
        &mut self,
        changed: impl IntoIterator<Item = (&'a String, Option<&'a PeerSet>)>,
        changes: &mut Changes,
    ) {
        for (name, set) in changed {
            let old = self.peers.get(name).cloned();
            let new = set.map(|set| {
                Arc::new(Peers {
                    id: old.as_ref().map_or_else(|| self.number(), |old| old.id),
                    v4: intervals::joined(&set.members, Family::V4),
                    v6: intervals::joined(&set.members, Family::V6),
                })
            });
            self.one_set(name, old, new, changes);
        }
    }

    fn one_set(&mut self, name: &str, old: Option<Arc<Peers>>, new: Option<Arc<Peers>>, changes: &mut Changes) {
        changes.comes_from(EntryKey::Peers(name.to_owned()));
        let none = Vec::new();
        for family in FAMILIES {
            let set = |peers: &Arc<Peers>| set_name(peers.id, family);
            match (&old, &new) {
                (Some(old), None) => changes.delete_set(set(old)),
                (old, Some(new)) => {
                    if old.is_none() {
                        changes.set(ranges(set(new), family));
                    }
                    let had = old.as_ref().map_or(&none, |old| old.of(family));
                    let (gone, fresh) = intervals::changes(had, new.of(family), family);
                    changes.remove_all(&set(new), gone);
                    changes.add_all(&set(new), fresh);
                }
                (None, None) => {}
            }
        }
        match new {
            Some(new) => drop(self.peers.insert(name.to_owned(), new)),
            None => drop(self.peers.remove(name)),
        }
    }

    /// Takes in changed rules of pods.
    pub(super) fn change_rules<'a>(
        &mut self,
        changed: impl IntoIterator<Item = (&'a PodKey, Option<&'a PodRules>)>,
        changes: &mut Changes,
    ) -> Result<(), Unfit> {
        for (pod, rules) in changed {
            let old = self.rules.get(pod).cloned();
            let new = rules.map(|rules| {
                Arc::new(Ruled {
                    id: old.as_ref().map_or_else(|| self.number(), |old| old.id),
                    ingress: rules.ingress.clone(),
                    egress: rules.egress.clone(),
                })
            });
            self.one_pod(pod, old, new, changes)?;
        }
        Ok(())
    }

    fn one_pod(
        &mut self,
        pod: &PodKey,
        old: Option<Arc<Ruled>>,
        new: Option<Arc<Ruled>>,
        changes: &mut Changes,
    ) -> Result<(), Unfit> {
        let key = EntryKey::Rules(pod.clone());
        changes.comes_from(key.clone());
        for direction in 0..2 {
            let of = |ruled: &Option<Arc<Ruled>>| {
                let ruled = ruled.as_ref()?;
                let (name, rules) = ruled.directions()[direction];
                Some((format!("{name}-{}", ruled.id), name, rules?.clone()))
            };
            match (of(&old), of(&new)) {
                (Some((chain, ..)), None) => changes.delete_chain(chain),
                (Some((.., had)), Some((.., has))) if had == has => {}
                (had, Some((chain, name, rules))) => {
                    let rules = self.compile(&rules, name == "in").map_err(|why| (key.clone(), why))?;
                    if had.is_some() {
                        changes.refill(&chain, rules);
                    } else {
                        changes.chain(&chain, None, rules);
                    }
                }
                (None, None) => {}
            }
        }
        match new {
            Some(new) => drop(self.rules.insert(pod.clone(), new)),
            None => drop(self.rules.remove(pod)),
        }
        Ok(())
    }

    /// All of another's.
    pub(super) fn take_over(&mut self, other: &Policies, changes: &mut Changes) -> Result<(), Unfit> {
        self.next = other.next;
        for (name, peers) in &other.peers {
            self.one_set(name, None, Some(peers.clone()), changes);
        }
        for (pod, ruled) in &other.rules {
            self.one_pod(pod, None, Some(ruled.clone()), changes)?;
        }
        Ok(())
    }

    /// What is allowed returns, and what comes to the end is dropped.
    fn compile(&self, rules: &[Rule], is_ingress: bool) -> Result<Vec<Vec<Expression>>, String> {
        let mut compiled = Vec::new();
        for allowed in rules {
            let peers = match &allowed.peers {
                None => vec![Vec::new()],
                Some(name) => {
                    let peers = self
                        .peers
                        .get(name)
                        .ok_or_else(|| format!("there is no peer set {}", name.escape_debug()))?;
                    FAMILIES.map(|family| among(peers.id, family, is_ingress)).into()
                }
            };
            let ports = match &allowed.ports {
                None => vec![Vec::new()],
                Some(ports) => merged(ports).into_iter().map(within).collect(),
            };
            if compiled.len() + peers.len() * ports.len() > MOST_RULES {
                return Err(format!(
                    "its rules come to more than {MOST_RULES} in the kernel: name fewer ranges of ports"
                ));
            }
            for of_peers in &peers {
                for of_ports in &ports {
                    compiled.push(rule([of_peers.clone(), of_ports.clone(), verdict(Verdict::Return)]));
                }
            }
        }
        compiled.push(rule([vec![Expression::Counter], verdict(Verdict::Drop)]));
        Ok(compiled)
    }
}

/// Goes on if the other one is among these.
fn among(id: u32, family: Family, is_ingress: bool) -> Vec<Expression> {
    let row = Row(family);
    let (load, at) = if is_ingress {
        (row.load_source(), row.source())
    } else {
        (row.load_destination(), row.destination())
    };
    rule([row.is_family(), vec![load, Expression::In(set_name(id, family), at)]])
}

/// Ranges of ports without overlaps.
fn merged(ports: &[Ports]) -> Vec<(u8, u16, u16)> {
    let mut by_protocol: BTreeMap<u8, Vec<(u16, u16)>> = BTreeMap::new();
    for range in ports {
        let of_protocol = by_protocol.entry(protocol(range.protocol)).or_default();
        of_protocol.push((range.first, range.last));
    }
    let mut all = Vec::new();
    for (protocol, mut ranges) in by_protocol {
        ranges.sort_unstable();
        let mut joined: Vec<(u16, u16)> = Vec::new();
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end)) if end.checked_add(1).is_none_or(|next| first <= next) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        all.extend(joined.into_iter().map(|(first, last)| (protocol, first, last)));
    }
    all
}

fn within((protocol, first, last): (u8, u16, u16)) -> Vec<Expression> {
    let mut expressions = vec![
        Expression::Meta(Meta::Protocol, SCRATCH),
        Expression::Equal(SCRATCH, vec![protocol]),
    ];
    if (first, last) != (0, u16::MAX) {
        expressions.push(Expression::Payload(Layer::Transport, 2, 2, SCRATCH));
        let (first, last) = (first.to_be_bytes().to_vec(), last.to_be_bytes().to_vec());
        expressions.push(Expression::Within(SCRATCH, first, last));
    }
    expressions
}
