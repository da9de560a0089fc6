//! The indexes that are kept, and which of them serves which rules.
use crate::{
    hashing::Map,
    index::{Index, Judge, Layout, Pair, Question, Weighing},
    rules::Rules,
};
use sampan_sdk::scheduler::shelf::to_drop;
use std::rc::Rc;

/// What a ground is about: rules that have nothing to do with other pods, and the keys.
type Ground = (Rules, (Vec<u32>, Vec<u32>));

/// The indexes of some rules, by number.
struct Asked {
    question: Question,
    ground_rules: Rc<Rules>,
    ground_layout: Rc<Layout>,
    /// Shared by all rules with this in common.
    ground: usize,
    /// Of these rules alone, where they ask anything of nodes alone.
    marks: Option<usize>,
}

/// All of them.
#[derive(Default)]
pub struct Shelf {
    /// By the number of the rules.
    asked: Vec<Option<Rc<Asked>>>,
    grounds: Map<Ground, usize>,
    indexes: Vec<Option<Box<Index>>>,
    clock: u64,
}

impl Shelf {
    /// Lets the indexes that serve some rules work; they are made if they are not there.
    pub fn with<T>(
        &mut self,
        judge: &Judge<'_>,
        (number, rules): (u32, Rc<Rules>),
        weighing: &mut Weighing,
        task: impl FnOnce(&mut Pair<'_>, &Question, &mut Weighing) -> T,
    ) -> T {
        let asked = self.asked(judge, number, rules);
        let question = &asked.question;
        self.clock += 1;
        let mut ground = self.take(asked.ground, judge, weighing, || {
            Index::build(judge, Rc::clone(&asked.ground_rules), Rc::clone(&asked.ground_layout))
        });
        let mut marks = asked.marks.map(|marks| {
            self.take(marks, judge, weighing, || {
                Index::build(judge, Rc::clone(&question.rules), Rc::clone(&question.layout))
            })
        });
        let mut pair = Pair {
            ground: &mut ground,
            marks: marks.as_deref_mut(),
        };
        let done = task(&mut pair, question, weighing);
        self.indexes[asked.ground] = Some(ground);
        if let Some(place) = asked.marks {
            self.indexes[place] = marks;
        }
        done
    }

    /// Takes an index off the shelf; it is made if it is not there.
    fn take(
        &mut self,
        place: usize,
        judge: &Judge<'_>,
        weighing: &mut Weighing,
        build: impl FnOnce() -> Index,
    ) -> Box<Index> {
        let mut index = self.indexes[place].take().unwrap_or_else(|| {
            let index = Box::new(build());
            self.make_space(judge, index.size());
            weighing.work += index.size();
            index
        });
        index.used = self.clock;
        index
    }

    fn asked(&mut self, judge: &Judge<'_>, number: u32, rules: Rc<Rules>) -> Rc<Asked> {
        let place = number as usize;
        if self.asked.len() <= place {
            self.asked.resize_with(place + 1, || None);
        }
        if let Some(asked) = &self.asked[place] {
            return Rc::clone(asked);
        }
        let layout = Rc::new(Layout::of(&rules, &judge.cluster.counts));
        let ground = (rules.ground(), layout.both_keys());
        let ground_rules = Rc::new(ground.0.clone());
        let next = self.indexes.len();
        let ground = *self.grounds.entry(ground).or_insert(next);
        if ground == next {
            self.indexes.push(None);
        }
        let marks = (!layout.is_ground()).then(|| {
            self.indexes.push(None);
            self.indexes.len() - 1
        });
        let asked = Rc::new(Asked {
            ground_layout: Rc::new(layout.ground()),
            question: Question { rules, layout },
            ground_rules,
            ground,
            marks,
        });
        self.asked[place] = Some(Rc::clone(&asked));
        asked
    }

    /// Sees to it that an index of some size may be there beside the others.
    fn make_space(&mut self, judge: &Judge<'_>, size: usize) {
        let kept = self
            .indexes
            .iter()
            .map(|index| Some((index.as_ref()?.used, index.as_ref()?.size())));
        for place in to_drop(kept, size, judge.cluster.mirror.node_count()) {
            self.indexes[place] = None;
        }
    }
}
