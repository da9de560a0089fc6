//! Chains that frontends of one shape share: draw a place, find its backend, go there.
use super::{
    changes::Changes,
    frontends::COUNTED,
    layout::DROP,
    nft::{Element, Expression, Verdict},
    row::{Row, mark, named, no_priority, number, rule, verdict},
    settings::Settings,
};
use imbl::OrdMap;
use sampan_sandbox::network::Family;
use std::collections::BTreeSet;

/// Whose connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Inside,
    Outside,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Side::Inside => "inside",
            Side::Outside => "outside",
        }
    }
}

/// What frontends that are served by the same rules have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    pub(super) family: Family,
    /// Whose backends they are.
    pub(super) side: Side,
    /// At every address of the node.
    pub(super) at_node: bool,
    pub(super) places: u32,
    /// How long a client stays with its backend, in seconds; 0: not at all.
    pub(super) affinity: u32,
    /// Connections leave with the node's address.
    pub(super) masquerade: bool,
}

impl Shape {
    /// `node-inside4-masquerade-3-10800s`
    fn chain(&self) -> String {
        let node = if self.at_node { "node-" } else { "" };
        let side = named(self.side.name(), self.family);
        let masquerade = if self.masquerade { "-masquerade" } else { "" };
        let affinity = match self.affinity {
            0 => String::new(),
            seconds => format!("-{seconds}s"),
        };
        format!("{node}{side}{masquerade}-{}{affinity}", self.places)
    }

    fn rules(&self, mark_bit: u32) -> Vec<Vec<Expression>> {
        let row = Row(self.family);
        let set = |name: &str| named(&format!("{}-{name}", self.side.name()), self.family);
        let go = || {
            vec![Expression::Destination {
                v6: self.family == Family::V6,
                address: row.backend(),
                port: row.backend_port(),
            }]
        };
        let draw = || {
            let place = if self.places == 1 {
                Expression::Value(row.backend(), number(0))
            } else {
                Expression::Random(row.backend(), self.places)
            };
            let find = Expression::Map(set("places"), row.destination(), row.backend());
            rule([row.load_frontend(self.at_node), vec![place, find]])
        };
        let counted = Expression::In(named(COUNTED, self.family), row.destination());
        let mut rules = vec![no_priority(), rule([row.load_frontend(self.at_node), vec![counted]])];
        if self.masquerade {
            rules.push(mark(mark_bit));
        }
        if self.affinity > 0 {
            let map = named("affinity", self.family);
            let note = || Expression::Note {
                map: map.clone(),
                key: row.source(),
                data: row.backend(),
                seconds: self.affinity,
            };
            let forget = Expression::Forget {
                map: map.clone(),
                key: row.source(),
                data: row.backend(),
            };
            let known = vec![
                Expression::Map(map.clone(), row.source(), row.backend()),
                Expression::In(set("members"), row.destination()),
                note(),
            ];
            rules.push(rule([
                vec![row.load_source()],
                row.load_frontend(self.at_node),
                known,
                go(),
            ]));
            rules.push(rule([vec![row.load_source()], draw(), vec![forget, note()], go()]));
        }
        // Where there is affinity: when no more can be noted.
        rules.push(rule([draw(), go()]));
        // The number of places is being changed this very moment.
        rules.push(rule([vec![Expression::Counter], verdict(Verdict::Drop)]));
        rules
    }
}

/// Things that have a number while they are used.
#[derive(Clone)]
pub(super) struct Numbered<K: Ord + Clone> {
    /// With the number, and by how many it is used.
    known: OrdMap<K, (u32, usize)>,
    next: u32,
}

impl<K: Ord + Clone> Default for Numbered<K> {
    fn default() -> Self {
        Numbered {
            known: OrdMap::new(),
            // Below are those that mean something by themselves.
            next: DROP + 1,
        }
    }
}

/// Those that are used now and were not, and those that were used and are not any more, with their numbers.
pub(super) type Settled<K> = (Vec<(K, u32)>, Vec<(K, u32)>);

/// What changed which numbers are used.
pub(super) type Touched<K> = BTreeSet<K>;

impl<K: Ord + Clone> Numbered<K> {
    pub(super) fn take(&mut self, key: &K, touched: &mut Touched<K>) -> u32 {
        touched.insert(key.clone());
        let (number, users) = self.known.get(key).copied().unwrap_or_else(|| {
            let number = self.next;
            self.next += 1;
            (number, 0)
        });
        self.known.insert(key.clone(), (number, users + 1));
        number
    }

    pub(super) fn release(&mut self, key: &K, touched: &mut Touched<K>) {
        touched.insert(key.clone());
        if let Some((_, users)) = self.known.get_mut(key) {
            *users = users.saturating_sub(1);
        }
    }

    pub(super) fn number(&self, key: &K) -> Option<u32> {
        self.known.get(key).map(|(number, _)| *number)
    }

    /// What is used now and was not, and what was used and is not any more, which loses its number.
    pub(super) fn settle(&mut self, before: &Self, touched: Touched<K>) -> Settled<K> {
        let (mut fresh, mut gone) = (Vec::new(), Vec::new());
        for key in touched {
            let Some((number, users)) = self.known.get(&key).copied() else {
                continue;
            };
            let was = before.known.contains_key(&key);
            if users == 0 {
                self.known.remove(&key);
                if was {
                    gone.push((key, number));
                }
            } else if !was {
                fresh.push((key, number));
            }
        }
        (fresh, gone)
    }
}

/// Makes and removes the chains of shapes.
pub(super) fn settle((fresh, gone): Settled<Shape>, settings: &Settings, changes: &mut Changes) {
    for (shape, id) in fresh {
        let chain = shape.chain();
        changes.chain(&chain, None, shape.rules(settings.masquerade_mark));
        changes.add("shapes", Element::verdict(number(id), Verdict::Goto(chain)));
    }
    for (shape, id) in gone {
        changes.remove("shapes", Element::key(number(id)));
        changes.delete_chain(shape.chain());
    }
}
