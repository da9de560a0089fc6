//! What a shadow said, held against what was done: counts, and the decisions that differed last.
use super::fleet::Member;
use std::{collections::VecDeque, time::Duration};

/// Decisions that differed and are remembered.
pub const MOST: usize = 1000;

/// Characters of what is remembered of a plan or a reason.
const LONGEST: usize = 400;

/// How decisions compare. A pod that waits is decided about each time it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The same place; of a controller, the same plan.
    pub same: u64,
    /// Another place; of a controller, another plan.
    pub otherwise: u64,
    /// Only the candidate had a place.
    pub only_candidate: u64,
    /// Only the active one had.
    pub only_active: u64,
    pub neither: u64,
}

/// What one side did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Side {
    pub decisions: u64,
    /// Pods for which others were to go.
    pub preemptions: u64,
    pub took: Duration,
}

/// A decision that differed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differing {
    pub resource: String,
    pub namespace: String,
    pub name: String,
    /// Nodes, empty for none; of a controller, the plans in words.
    pub active: String,
    pub candidate: String,
    /// Why the one that has no place has none.
    pub why: String,
    pub at_ms: u64,
}

/// Of a shadow, since it began, the active one is another, or this member leads.
#[derive(Debug, Default)]
pub struct Comparison {
    /// The active plugin and its digest, the term, and when the first decision was compared.
    against: Option<(String, String, u64)>,
    since_ms: u64,
    tally: Tally,
    active: Side,
    candidate: Side,
    differing: VecDeque<Differing>,
}

/// What is told of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub active: (String, String),
    pub since_ms: u64,
    pub tally: Tally,
    pub sides: [Side; 2],
    /// Newest first.
    pub differing: Vec<Differing>,
}

impl Tally {
    pub fn all(&self) -> u64 {
        self.same + self.neither + self.differed()
    }

    pub fn differed(&self) -> u64 {
        self.otherwise + self.only_candidate + self.only_active
    }

    /// Counts a decision by who has a place; whether they differ.
    pub fn count(&mut self, active: u32, candidate: u32) -> bool {
        let field = match (active, candidate) {
            (0, 0) => &mut self.neither,
            (0, _) => &mut self.only_candidate,
            (_, 0) => &mut self.only_active,
            (one, other) if one == other => &mut self.same,
            _ => &mut self.otherwise,
        };
        *field += 1;
        active != candidate
    }
}

impl Comparison {
    /// It is a shadow from now on.
    pub fn begin(&mut self) {
        *self = Comparison::default();
    }

    /// Decisions are to be noted that the active one, or the built-in placing, made in a term.
    pub fn against(&mut self, active: Option<&Member>, term: u64, now_ms: u64) -> &mut Self {
        let (name, digest) = match active {
            Some(member) => (member.name.as_str(), member.digest.as_str()),
            None => ("built-in", ""),
        };
        let same = |known: &(String, String, u64)| known.0 == name && known.1 == digest && known.2 == term;
        if !self.against.as_ref().is_some_and(same) {
            self.begin();
            self.against = Some((name.to_owned(), digest.to_owned(), term));
            self.since_ms = now_ms;
        }
        self
    }

    /// Counts a decision by who has a place; whether they differ.
    pub fn count(&mut self, active: u32, candidate: u32) -> bool {
        self.tally.count(active, candidate)
    }

    /// How many decisions both made, how long they took, and for how many pods others were to go.
    pub fn sides(&mut self, active: Side, candidate: Side) {
        for (kept, more) in [(&mut self.active, active), (&mut self.candidate, candidate)] {
            kept.decisions += more.decisions;
            kept.preemptions += more.preemptions;
            kept.took += more.took;
        }
    }

    /// Remembers a decision that differed, for as long as there is room.
    pub fn remember(&mut self, mut differing: Differing) {
        for text in [&mut differing.active, &mut differing.candidate, &mut differing.why] {
            if text.len() > LONGEST {
                text.truncate(text.floor_char_boundary(LONGEST));
                text.push('…');
            }
        }
        if self.differing.len() == MOST {
            self.differing.pop_front();
        }
        self.differing.push_back(differing);
    }

    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// All of it, with so many decisions at the most.
    pub fn report(&self, most: usize) -> Report {
        let (name, digest, _) = self.against.clone().unwrap_or_default();
        Report {
            active: (name, digest),
            since_ms: self.since_ms,
            tally: self.tally,
            sides: [self.active, self.candidate],
            differing: self.differing.iter().rev().take(most).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_told_apart_and_only_the_last_are_remembered() {
        let mut comparison = Comparison::default();
        comparison.against(None, 1, 7);
        for (active, candidate, differs) in [(1, 1, false), (1, 2, true), (0, 2, true), (1, 0, true), (0, 0, false)] {
            assert_eq!(comparison.count(active, candidate), differs);
        }
        let all = Tally {
            same: 1,
            otherwise: 1,
            only_candidate: 1,
            only_active: 1,
            neither: 1,
        };
        assert_eq!((comparison.tally(), all.all(), all.differed()), (all, 5, 3));
        for at_ms in 0..=MOST as u64 {
            comparison.remember(Differing {
                at_ms,
                why: "ä".repeat(LONGEST),
                ..Differing::default()
            });
        }
        let report = comparison.report(2);
        let times: Vec<u64> = report.differing.iter().map(|one| one.at_ms).collect();
        assert_eq!((report.since_ms, times), (7, vec![1000, 999]));
        assert_eq!(report.differing[0].why.chars().count(), LONGEST / 2 + 1);
        assert_eq!(comparison.report(5000).differing.len(), MOST);
        // Of the same nothing begins anew; in another term all does.
        assert_eq!(comparison.against(None, 1, 9).tally(), all);
        assert_eq!(comparison.against(None, 2, 9).tally(), Tally::default());
    }
}
