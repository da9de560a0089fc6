//! A random cluster and the engine that was told of it, and what happens to both.
use crate::{
    draw::Draw,
    model::{Placed, World, bound, nothing, pod},
    random::{Taste, namespaces, random_budget, random_class, random_node, symbols},
};
use scheduler::{
    Engine,
    types::{Changes, Named, Namespace, Nomination, Pod},
};

const NODES: u64 = 8;
const CLASSES: u64 = 10;

/// A cluster and the engine that was told of it.
pub struct Pair {
    pub world: World,
    pub engine: Engine,
    revision: u64,
    /// Symbols that the engine knows.
    told: u32,
    pub next_pod: u32,
}

impl Pair {
    pub fn new(draw: &mut Draw, taste: &Taste, config: &str) -> Self {
        let mut world = World::default();
        symbols(&mut world);
        namespaces(draw, &mut world);
        for id in 1..=2 + draw.below(NODES - 2) as u32 {
            let node = random_node(draw, &mut world, id, taste);
            world.nodes.insert(id, node);
        }
        for id in 1..=CLASSES as u32 {
            let class = random_class(draw, &mut world, id, taste);
            world.classes.insert(id, class);
        }
        for id in 1..=draw.below(20) as u32 {
            let (node, class) = (draw.one(&keys(&world.nodes)), draw.one(&keys(&world.classes)));
            let (start, ending) = (draw.below(5) as u32, draw.chance(10));
            world.pods.insert(
                id,
                Placed {
                    node,
                    class,
                    start,
                    ending,
                },
            );
        }
        if taste.priorities {
            for id in 1..=draw.below(3) as u32 {
                let budget = random_budget(draw, &mut world, id);
                world.budgets.insert(id, budget);
            }
        }
        let mut engine = Engine::default();
        engine.configure(config).expect("the config is right");
        engine.sync(0, 1, world.everything()).expect("the first sync");
        Pair {
            told: world.texts.len() as u32,
            world,
            engine,
            revision: 1,
            next_pod: 100,
        }
    }

    pub fn waiting(&mut self, draw: &mut Draw) -> Pod {
        self.next_pod += 1;
        let pinned = if draw.chance(5) {
            1 + draw.below(NODES + 1) as u32
        } else {
            0
        };
        Pod {
            pinned,
            ..pod(self.next_pod, draw.one(&keys(&self.world.classes)))
        }
    }

    fn sync(&mut self, mut changes: Changes) {
        for symbol in self.told + 1..=self.world.texts.len() as u32 {
            let text = self.world.texts[&symbol].clone();
            changes.symbols.push(Named { symbol, text });
        }
        self.told = self.world.texts.len() as u32;
        let next = self.revision + 1;
        self.engine
            .sync(self.revision, next, changes)
            .expect("the mirror follows");
        self.revision = next;
    }

    /// Something happens in the cluster.
    pub fn change(&mut self, draw: &mut Draw, taste: &Taste) {
        let mut changes = nothing();
        for _ in 0..=draw.below(3) {
            match draw.below(10) {
                0 => self.change_node(draw, taste, &mut changes),
                1 => self.remove_node(draw, &mut changes),
                2 => self.bind(draw, &mut changes),
                3..=5 => self.release(draw, &mut changes),
                6 => self.end(draw, &mut changes),
                7 => self.change_class(draw, taste, &mut changes),
                8 if taste.priorities => self.nominate(draw, &mut changes),
                _ => self.change_others(draw, taste, &mut changes),
            }
        }
        self.sync(changes);
    }

    fn change_node(&mut self, draw: &mut Draw, taste: &Taste, changes: &mut Changes) {
        let id = 1 + draw.below(NODES) as u32;
        if changes.nodes.iter().any(|node| node.id == id) || changes.nodes_gone.contains(&id) {
            return;
        }
        let mut node = random_node(draw, &mut self.world, id, taste);
        if let Some(old) = self.world.nodes.get(&id).filter(|_| draw.chance(30)) {
            // Only how much it has.
            (node.labels, node.taints) = (old.labels.clone(), old.taints.clone());
            (node.ready, node.unschedulable) = (old.ready, old.unschedulable);
        }
        self.world.nodes.insert(id, node.clone());
        changes.nodes.push(node);
    }

    fn remove_node(&mut self, draw: &mut Draw, changes: &mut Changes) {
        let id = draw.one(&keys(&self.world.nodes));
        let named =
            changes.nodes.iter().any(|node| node.id == id) || changes.bound.iter().any(|bound| bound.node == id);
        if self.world.nodes.len() < 3 || named || changes.nominated.iter().any(|one| one.node == id) {
            return;
        }
        self.world.nodes.remove(&id);
        self.world.pods.retain(|_, placed| placed.node != id);
        self.world.nominations.retain(|_, nomination| nomination.node != id);
        changes.nodes_gone.push(id);
        let pods = &self.world.pods;
        changes.ending.retain(|pod| pods.contains_key(pod));
    }

    fn bind(&mut self, draw: &mut Draw, changes: &mut Changes) {
        self.next_pod += 1;
        let placed = Placed {
            node: draw.one(&keys(&self.world.nodes)),
            class: draw.one(&keys(&self.world.classes)),
            start: draw.below(5) as u32,
            ending: false,
        };
        changes.bound.push(bound(self.next_pod, &placed));
        self.world.pods.insert(self.next_pod, placed);
    }

    fn release(&mut self, draw: &mut Draw, changes: &mut Changes) {
        let pods = keys(&self.world.pods);
        if pods.is_empty() {
            return;
        }
        let id = draw.one(&pods);
        if !changes.bound.iter().any(|bound| bound.pod == id) && !changes.ending.contains(&id) {
            self.world.pods.remove(&id);
            changes.released.push(id);
        }
    }

    fn end(&mut self, draw: &mut Draw, changes: &mut Changes) {
        let pods = keys(&self.world.pods);
        if pods.is_empty() {
            return;
        }
        let id = draw.one(&pods);
        let placed = self.world.pods.get_mut(&id).expect("it is there");
        placed.ending = !placed.ending || !draw.chance(50);
        let said = bound(id, placed);
        if !changes.ending.contains(&id) && !changes.bound.iter().any(|bound| bound.pod == id) {
            match placed.ending {
                true => changes.ending.push(id),
                false => changes.bound.push(said),
            }
        } else {
            placed.ending = changes.ending.contains(&id);
        }
    }

    fn change_class(&mut self, draw: &mut Draw, taste: &Taste, changes: &mut Changes) {
        let id = 1 + draw.below(CLASSES) as u32;
        if !changes.classes.iter().any(|class| class.id == id) {
            let class = random_class(draw, &mut self.world, id, taste);
            self.world.classes.insert(id, class.clone());
            changes.classes.push(class);
        }
    }

    fn nominate(&mut self, draw: &mut Draw, changes: &mut Changes) {
        self.next_pod += 1;
        let nomination = Nomination {
            pod: self.next_pod,
            node: draw.one(&keys(&self.world.nodes)),
            class: draw.one(&keys(&self.world.classes)),
        };
        self.world.nominations.insert(self.next_pod, nomination);
        changes.nominated.push(nomination);
        let old = keys(&self.world.nominations)[0];
        if draw.chance(50) && !changes.nominated.iter().any(|one| one.pod == old) {
            self.world.nominations.remove(&old);
            changes.nominated_no_more.push(old);
        }
    }

    fn change_others(&mut self, draw: &mut Draw, taste: &Taste, changes: &mut Changes) {
        let name = draw.one(&keys(&self.world.namespaces));
        if !changes.namespaces.iter().any(|namespace| namespace.name == name) {
            let labels = vec![self.world.label("team", draw.one(&["a", "b"]))];
            self.world.namespaces.insert(name, labels.clone());
            changes.namespaces.push(Namespace { name, labels });
        }
        let id = 1 + draw.below(3) as u32;
        if taste.priorities && !changes.budgets.iter().any(|budget| budget.id == id) {
            let budget = random_budget(draw, &mut self.world, id);
            self.world.budgets.insert(id, budget.clone());
            changes.budgets.push(budget);
        }
    }

    /// The mirror kept by changes says what one made from scratch says.
    pub fn compare_with_a_fresh_one(&mut self, draw: &mut Draw, config: &str) {
        let mut fresh = Engine::default();
        fresh.configure(config).expect("the config is right");
        fresh
            .sync(0, self.revision, self.world.everything())
            .expect("the first sync");
        for _ in 0..4 {
            let pod = self.waiting(draw);
            assert_eq!(
                self.engine.explain(&pod, u32::MAX),
                fresh.explain(&pod, u32::MAX),
                "{pod:?}"
            );
        }
    }
}

pub fn keys<T>(map: &std::collections::BTreeMap<u32, T>) -> Vec<u32> {
    map.keys().copied().collect()
}
