//! Frontends as elements of maps.
use super::{
    changes::Changes,
    intervals::{self, Intervals},
    layout::{DROP, REJECT, ranges},
    nft::{Element, Expression, Socket, Verdict},
    places::{self, Target},
    row::{FAMILIES, Row, named, number, rule, verdict},
    settings::{Settings, octets},
    shapes::{self, Numbered, Shape, Side, Touched},
};
use imbl::OrdMap;
use sampan_sandbox::network::{Destination, EntryKey, Fallback, Family, Frontend, FrontendKey, Pool, Protocol};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    sync::Arc,
};

/// The sets, one of each family, whose elements count connections of frontends as long as these are there.
pub(super) const COUNTED: &str = "counted";

/// A pool whose backends have places.
#[derive(Clone, PartialEq, Eq)]
struct Placed {
    places: Vec<Target>,
    /// Those that get nothing new.
    leaving: BTreeSet<Target>,
    otherwise: Fallback,
}

impl Placed {
    fn new(before: Option<&Placed>, pool: &Pool) -> Self {
        let places = before.map(|before| before.places.as_slice()).unwrap_or_default();
        Placed {
            places: places::places(places, &pool.backends),
            leaving: places::without_weight(&pool.backends),
            otherwise: pool.otherwise,
        }
    }
}

/// What is kept of a frontend.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Served {
    affinity: u32,
    sources: Option<SourceList>,
    inside: Placed,
    outside: Option<Placed>,
}

/// Who may connect.
type SourceList = (Family, Intervals);

#[derive(Clone, Default)]
pub(super) struct Frontends {
    all: OrdMap<FrontendKey, Arc<Served>>,
    shapes: Numbered<Shape>,
    sources: Numbered<SourceList>,
}

/// What a transaction has touched.
#[derive(Default)]
struct Use {
    shapes: Touched<Shape>,
    sources: Touched<SourceList>,
}

fn family(key: &FrontendKey) -> Family {
    match key.destination {
        Destination::Address(address) => address.family(),
        Destination::Node(family) => family,
    }
}

/// As packets have it.
pub(super) const fn protocol(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

fn port(number: u16) -> [u8; 4] {
    let [upper, lower] = number.to_be_bytes();
    [upper, lower, 0, 0]
}

/// The key of a frontend in maps.
fn bytes(key: &FrontendKey) -> Vec<u8> {
    let mut bytes = match key.destination {
        Destination::Address(address) => octets(address),
        Destination::Node(Family::V4) => vec![0; 4],
        Destination::Node(Family::V6) => vec![0; 16],
    };
    bytes.extend_from_slice(&[protocol(key.protocol), 0, 0, 0]);
    bytes.extend_from_slice(&port(key.port));
    bytes
}

fn target((address, number): &Target) -> Vec<u8> {
    let mut bytes = octets(*address);
    bytes.extend_from_slice(&port(*number));
    bytes
}

fn joined(one: &[u8], other: &[u8]) -> Vec<u8> {
    [one, other].concat()
}

impl Served {
    fn new(key: &FrontendKey, frontend: &Frontend, before: Option<&Served>) -> Self {
        let family = family(key);
        Served {
            affinity: frontend.affinity_seconds,
            sources: (!frontend.sources.is_empty()).then(|| (family, intervals::joined(&frontend.sources, family))),
            inside: Placed::new(before.map(|before| &before.inside), &frontend.inside),
            outside: frontend
                .outside
                .as_ref()
                .map(|pool| Placed::new(before.and_then(|before| before.outside.as_ref()), pool)),
        }
    }

    /// Both sides, each with whose backends serve it; the outside is served by the inside's where it has none of its own.
    fn sides(&self) -> [(Side, Side, &Placed); 2] {
        let outside = match &self.outside {
            Some(outside) => (Side::Outside, Side::Outside, outside),
            None => (Side::Outside, Side::Inside, &self.inside),
        };
        [(Side::Inside, Side::Inside, &self.inside), outside]
    }

    fn shape(&self, key: &FrontendKey, (side, by, placed): (Side, Side, &Placed)) -> Option<Shape> {
        (!placed.places.is_empty()).then(|| Shape {
            family: family(key),
            side: by,
            at_node: matches!(key.destination, Destination::Node(_)),
            places: u32::try_from(placed.places.len()).unwrap_or(u32::MAX),
            affinity: self.affinity,
            masquerade: side != by,
        })
    }

    /// Where connections may go on to that have not been answered yet, and those of UDP. Who gets nothing new keeps the latter.
    fn serving(&self, protocol: Protocol) -> BTreeSet<Target> {
        let mut all = BTreeSet::new();
        for placed in [Some(&self.inside), self.outside.as_ref()].into_iter().flatten() {
            all.extend(&placed.places);
            if protocol == Protocol::Udp {
                all.extend(&placed.leaving);
            }
        }
        all
    }

    fn serves(&self, protocol: Protocol, target: Target) -> bool {
        let pools = [Some(&self.inside), self.outside.as_ref()];
        let keeps = |placed: &Placed| protocol == Protocol::Udp && placed.leaving.contains(&target);
        let mut pools = pools.into_iter().flatten();
        pools.any(|placed| placed.places.contains(&target) || keeps(placed))
    }

    fn shapes(&self, key: &FrontendKey) -> impl Iterator<Item = Shape> {
        self.sides().into_iter().filter_map(|side| self.shape(key, side))
    }

    /// What stands for it in the maps, by map and key.
    fn elements(&self, key: &FrontendKey, of: &Frontends) -> BTreeMap<(String, Vec<u8>), Element> {
        let (own, family) = (bytes(key), family(key));
        let mut found = BTreeMap::new();
        let mut put = |name: String, element: Element| found.insert((name, element.key.clone()), element);
        for (side, by, placed) in self.sides() {
            let shape = self.shape(key, (side, by, placed));
            let shape = shape.and_then(|shape| of.shapes.number(&shape));
            let fallback = match placed.otherwise {
                Fallback::Reject => REJECT,
                Fallback::Drop => DROP,
            };
            let data = number(shape.unwrap_or(fallback));
            put(named(side.name(), family), Element::value(own.clone(), data));
            if side != by {
                continue;
            }
            let places = named(&format!("{}-places", side.name()), family);
            let members = named(&format!("{}-members", side.name()), family);
            for (place, to) in (0..).zip(&placed.places) {
                let at = joined(&own, &number(place));
                put(places.clone(), Element::value(at, target(to)));
                if self.affinity > 0 {
                    put(members.clone(), Element::key(joined(&own, &target(to))));
                }
            }
        }
        put(named(COUNTED, family), Element::key(own.clone()));
        let list = self.sources.as_ref().and_then(|list| of.sources.number(list));
        if let Some(list) = list {
            put(named("sourced", family), Element::value(own, number(list)));
        }
        found
    }
}

/// Whether connections may lead where the frontend leads no more: to backends that left, or past it, as it was not there and
/// nothing is refused where it is.
fn has_lost(key: &FrontendKey, old: Option<&Arc<Served>>, new: Option<&Arc<Served>>, settings: &Settings) -> bool {
    let Some(old) = old else {
        let refused = |address| settings.service_ranges.iter().any(|range| range.contains(address));
        return !matches!(key.destination, Destination::Address(address) if refused(address));
    };
    let serving = new.map(|new| new.serving(key.protocol)).unwrap_or_default();
    !old.serving(key.protocol).is_subset(&serving)
}

impl Frontends {
    /// Takes in changed frontends, and says what differs.
    pub(super) fn change<'a>(
        &mut self,
        changed: impl IntoIterator<Item = (&'a FrontendKey, Option<&'a Frontend>)>,
        settings: &Settings,
        changes: &mut Changes,
    ) {
        let before = self.clone();
        let mut used = Use::default();
        for (key, frontend) in changed {
            let old = before.all.get(key);
            let new = frontend.map(|frontend| Arc::new(Served::new(key, frontend, old.map(Arc::as_ref))));
            if old != new.as_ref() {
                if has_lost(key, old, new.as_ref(), settings) {
                    changes.left.frontends.insert(*key);
                }
                self.one(key, old, new, &mut used, changes);
            }
        }
        self.settle(&before, used, settings, changes);
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &FrontendKey> {
        self.all.keys()
    }

    /// Whether a frontend sends connections there; nothing where there is no such frontend.
    pub(super) fn serves(&self, key: &FrontendKey, target: Target) -> Option<bool> {
        let served = self.all.get(key)?;
        Some(served.serves(key.protocol, target))
    }

    /// How many connections the kernel has counted of each.
    pub(super) fn counted(&self, socket: &mut Socket, table: &str) -> io::Result<BTreeMap<FrontendKey, u64>> {
        let mut counted = HashMap::new();
        for family in FAMILIES {
            counted.extend(socket.counted(table, &named(COUNTED, family))?);
        }
        let of_key = |key: &FrontendKey| Some((*key, *counted.get(&bytes(key))?));
        Ok(self.all.keys().filter_map(of_key).collect())
    }

    /// All of another's, with the places that they have there.
    pub(super) fn take_over(&mut self, other: &Frontends, settings: &Settings, changes: &mut Changes) {
        let before = self.clone();
        let mut used = Use::default();
        for (key, served) in &other.all {
            self.one(key, None, Some(served.clone()), &mut used, changes);
        }
        self.settle(&before, used, settings, changes);
    }

    fn one(
        &mut self,
        key: &FrontendKey,
        old: Option<&Arc<Served>>,
        new: Option<Arc<Served>>,
        used: &mut Use,
        changes: &mut Changes,
    ) {
        changes.comes_from(EntryKey::Frontend(*key));
        // Numbers are taken before any are given back, so that what both use keeps its own.
        if let Some(new) = &new {
            for shape in new.shapes(key) {
                self.shapes.take(&shape, &mut used.shapes);
            }
            if let Some(list) = &new.sources {
                self.sources.take(list, &mut used.sources);
            }
        }
        let elements =
            |served: Option<&Arc<Served>>| served.map(|served| served.elements(key, self)).unwrap_or_default();
        let (had, has) = (elements(old), elements(new.as_ref()));
        for ((set, _), element) in had.iter().filter(|(at, element)| has.get(*at) != Some(*element)) {
            changes.remove(set, Element::key(element.key.clone()));
        }
        for ((set, _), element) in has.iter().filter(|(at, element)| had.get(*at) != Some(*element)) {
            changes.add(set, element.clone());
        }
        if let Some(old) = old {
            for shape in old.shapes(key) {
                self.shapes.release(&shape, &mut used.shapes);
            }
            if let Some(list) = &old.sources {
                self.sources.release(list, &mut used.sources);
            }
        }
        match new {
            Some(new) => self.all.insert(*key, new),
            None => self.all.remove(key),
        };
    }

    fn settle(&mut self, before: &Self, used: Use, settings: &Settings, changes: &mut Changes) {
        shapes::settle(self.shapes.settle(&before.shapes, used.shapes), settings, changes);
        let (fresh, gone) = self.sources.settle(&before.sources, used.sources);
        for ((family, list), id) in fresh {
            let name = format!("{}-{id}", named("sources", family));
            changes.set(ranges(name.clone(), family));
            changes.add_all(&name, intervals::changes(&Vec::new(), &list, family).1);
            let row = Row(family);
            let listed = vec![row.load_source(), Expression::In(name.clone(), row.source())];
            let rules = vec![
                rule([listed, verdict(Verdict::Return)]),
                rule([vec![Expression::Counter], verdict(Verdict::Drop)]),
            ];
            changes.chain(&name, None, rules);
            changes.add("source-lists", Element::verdict(number(id), Verdict::Jump(name)));
        }
        for ((family, _), id) in gone {
            let name = format!("{}-{id}", named("sources", family));
            changes.remove("source-lists", Element::key(number(id)));
            changes.delete_chain(name.clone());
            changes.delete_set(name);
        }
    }
}
