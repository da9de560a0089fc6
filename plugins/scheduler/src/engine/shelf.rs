//! The indexes that are kept, and which of them serves which rules.
use crate::{
    hashing::Map,
    index::{Index, Judge, Layout, Question, Weighing},
    rules::Rules,
};
use std::rc::Rc;

/// Entries of all indexes together at the most, about 24 bytes each.
const MOST_ENTRIES: usize = 2 << 20;
/// Indexes at the least and at the most; beyond, the least recently used goes.
const INDEXES: (usize, usize) = (16, 512);

/// What an index without counts on single nodes is about: rules that have nothing to do with other pods, and the keys.
type Ground = (Rules, (Vec<u32>, Vec<u32>));

/// The indexes of some rules, by number.
struct Asked {
    question: Question,
    ground_rules: Rc<Rules>,
    /// Shared by all rules with this in common.
    ground: u32,
    /// Of these rules alone, for when pods that count are on many nodes.
    own: u32,
}

/// All of them.
#[derive(Default)]
pub struct Shelf {
    /// By the number of the rules.
    asked: Vec<Option<Rc<Asked>>>,
    grounds: Map<Ground, u32>,
    indexes: Vec<Option<Box<Index>>>,
    alive: usize,
    clock: u64,
}

impl Shelf {
    /// Lets the index that serves some rules work; it is made if it is not there.
    pub fn with<T>(
        &mut self,
        judge: &Judge<'_>,
        (number, rules): (u32, Rc<Rules>),
        weighing: &mut Weighing,
        task: impl FnOnce(&mut Index, &Question, &mut Weighing) -> T,
    ) -> T {
        let asked = self.asked(judge, number, rules);
        let question = &asked.question;
        let few = weighing.mark(question, &judge.cluster.counts);
        let place = if few { asked.ground } else { asked.own } as usize;
        self.clock += 1;
        if self.indexes[place].is_none() {
            self.make_space(judge);
            weighing.work += judge.cluster.mirror.len();
        }
        let index = self.indexes[place].get_or_insert_with(|| {
            let layout = Layout::of(&question.rules, &judge.cluster.counts);
            Box::new(match few {
                true => Index::build(judge, Rc::clone(&asked.ground_rules), layout.ground()),
                false => Index::build(judge, Rc::clone(&question.rules), layout),
            })
        });
        index.used = self.clock;
        task(index, question, weighing)
    }

    fn asked(&mut self, judge: &Judge<'_>, number: u32, rules: Rc<Rules>) -> Rc<Asked> {
        let place = number as usize;
        if self.asked.len() <= place {
            self.asked.resize_with(place + 1, || None);
        }
        if let Some(asked) = &self.asked[place] {
            return Rc::clone(asked);
        }
        let layout = Layout::of(&rules, &judge.cluster.counts);
        let ground = (rules.ground(), layout.both_keys());
        let ground_rules = Rc::new(ground.0.clone());
        let next = self.indexes.len() as u32;
        let ground = *self.grounds.entry(ground).or_insert(next);
        if ground == next {
            self.indexes.push(None);
        }
        self.indexes.push(None);
        let asked = Rc::new(Asked {
            question: Question { rules, layout },
            ground_rules,
            ground,
            own: self.indexes.len() as u32 - 1,
        });
        self.asked[place] = Some(Rc::clone(&asked));
        asked
    }

    /// Sees to it that one more index may be there.
    fn make_space(&mut self, judge: &Judge<'_>) {
        let most = (MOST_ENTRIES / judge.cluster.mirror.len().max(1)).clamp(INDEXES.0, INDEXES.1);
        if self.alive < most {
            self.alive += 1;
            return;
        }
        let used = |place: &usize| self.indexes[*place].as_ref().map(|index| index.used);
        let alive = (0..self.indexes.len()).filter(|place| self.indexes[*place].is_some());
        if let Some(place) = alive.min_by_key(used) {
            self.indexes[place] = None;
        }
    }
}
