//! Whose fault it is that a policy failed: the policy's, or one pod's that poisons it.
//!
//! What was asked in the call that failed is asked again in two halves, each of a fresh instance, and so on with the half
//! that fails. If both halves of something fail, or several pods turn out to poison it, it is the policy's fault.
use sampan_sandbox::scheduler::PodGroup;
use std::collections::{HashMap, VecDeque};

/// So many poisoned pods are too many for one policy.
const MANY: usize = 3;

/// Pods that go together: one, or a group with its least number.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    pub pods: Vec<u32>,
    pub least: Option<u32>,
}

/// What is asked in one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    pub units: Vec<Unit>,
    /// Of which suspicion it is a half; 0 for none.
    pub half_of: u32,
}

/// Who is to blame.
#[derive(Debug, PartialEq)]
pub enum Blame {
    /// Not known yet: halves will be asked.
    Open,
    /// This one.
    Unit(Unit),
    Policy,
}

/// Calls that are to be asked apart.
#[derive(Debug, Default)]
pub struct Suspects {
    /// Oldest first, so that both halves of a whole are asked before a quarter is.
    calls: VecDeque<Call>,
    /// How many halves of each suspicion failed.
    failed: HashMap<u32, u32>,
    last: u32,
    poisoned: usize,
}

impl Call {
    /// From pods in their order, and the groups among them.
    pub fn new(pods: &[u32], groups: &[PodGroup]) -> Self {
        let (mut units, mut groups, mut at) = (Vec::new(), groups.iter(), 0);
        let mut group = groups.next();
        while at < pods.len() {
            let (count, least) = match group {
                Some(here) if here.first as usize == at => {
                    group = groups.next();
                    (here.count as usize, Some(here.least))
                }
                _ => (1, None),
            };
            let end = (at + count.max(1)).min(pods.len());
            units.push(Unit {
                pods: pods.get(at..end).unwrap_or_default().to_vec(),
                least,
            });
            at = end;
        }
        Call { units, half_of: 0 }
    }

    pub fn pods(&self) -> impl Iterator<Item = u32> {
        self.units.iter().flat_map(|unit| &unit.pods).copied()
    }

    pub fn groups(&self) -> Vec<PodGroup> {
        let (mut first, mut groups) = (0, Vec::new());
        for unit in &self.units {
            let count = unit.pods.len() as u32;
            groups.extend(unit.least.map(|least| PodGroup { first, count, least }));
            first += count;
        }
        groups
    }
}

impl Suspects {
    /// The next call to be asked apart.
    pub fn next(&mut self) -> Option<Call> {
        self.calls.pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The policy failed over this.
    pub fn failed(&mut self, mut call: Call) -> Blame {
        if call.half_of != 0 {
            let failed = self.failed.entry(call.half_of).or_default();
            *failed += 1;
            if *failed > 1 {
                return Blame::Policy;
            }
        }
        if call.units.len() < 2 {
            return call.units.pop().map_or(Blame::Policy, Blame::Unit);
        }
        self.last += 1;
        let second = call.units.split_off(call.units.len() / 2);
        for units in [call.units, second] {
            self.calls.push_back(Call {
                units,
                half_of: self.last,
            });
        }
        Blame::Open
    }

    /// One more poisons the policy; whether these are too many.
    pub fn poisoned(&mut self) -> bool {
        self.poisoned += 1;
        self.poisoned >= MANY
    }

    /// Another policy decides: all that was suspected is asked again; whom.
    pub fn clear(&mut self) -> Vec<u32> {
        let calls = std::mem::take(self).calls;
        calls.iter().flat_map(Call::pods).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks until all is clear; the blamed, the number of calls that failed, and who was placed.
    fn judge(pods: &[u32], poisons: impl Fn(&[u32]) -> bool) -> (Vec<Blame>, usize, Vec<u32>) {
        let (mut suspects, mut blamed, mut fails, mut placed) = (Suspects::default(), Vec::new(), 0, Vec::new());
        let mut next = Some(Call::new(pods, &[]));
        while let Some(call) = next {
            let asked: Vec<u32> = call.pods().collect();
            if poisons(&asked) {
                fails += 1;
                match suspects.failed(call) {
                    Blame::Open => {}
                    Blame::Policy => return (vec![Blame::Policy], fails, placed),
                    blame => blamed.push(blame),
                }
            } else {
                placed.extend(asked);
            }
            next = suspects.next();
        }
        (blamed, fails, placed)
    }

    #[test]
    fn one_of_many_is_found_and_the_others_are_placed() {
        let pods: Vec<u32> = (1..=256).collect();
        for culprit in [1, 77, 256] {
            let (blamed, fails, placed) = judge(&pods, |asked| asked.contains(&culprit));
            let unit = Unit {
                pods: vec![culprit],
                least: None,
            };
            assert_eq!((blamed, fails, placed.len()), (vec![Blame::Unit(unit)], 9, 255));
        }
    }

    #[test]
    fn a_policy_that_fails_over_everything_is_blamed_at_once() {
        let (blamed, fails, _) = judge(&[1, 2, 3, 4, 5, 6, 7, 8], |_| true);
        // The whole and both of its halves.
        assert_eq!((blamed, fails), (vec![Blame::Policy], 3));
    }

    #[test]
    fn a_failure_that_does_not_come_again_is_nobodys() {
        let once = std::cell::Cell::new(true);
        let (blamed, fails, placed) = judge(&[1, 2, 3], |_| once.replace(false));
        assert_eq!((blamed, fails, placed), (vec![], 1, vec![1, 2, 3]));
    }

    #[test]
    fn groups_stay_together() {
        let group = PodGroup {
            first: 1,
            count: 2,
            least: 2,
        };
        let call = Call::new(&[7, 8, 9, 10], &[group]);
        assert_eq!(call.units.len(), 3);
        assert_eq!(
            (call.groups(), call.pods().collect::<Vec<_>>()),
            (vec![group], vec![7, 8, 9, 10])
        );
    }
}
