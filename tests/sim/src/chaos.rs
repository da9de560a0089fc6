//! What goes wrong, and what operators do meanwhile: crashes, partitions, changes of members and of leaders; and the calm
//! afterwards, in which everything must come right.
use crate::{
    ask::Ask,
    disk::Disk,
    failure::Failure,
    network::{CLIENTS, Weather},
    objects,
    world::{Event, World},
};
use sampan_api::{Key, Write, plan::Operation};
use sampan_state::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};
use std::collections::BTreeSet;

/// Members that run at the most.
const CROWD: usize = 7;

/// Microseconds in which everything must come right once it is calm.
const RECOVERY: u64 = 60_000_000;

impl World {
    /// One thing goes wrong, or is done.
    pub fn chaos(&mut self) {
        if self.calm {
            return;
        }
        let gap = self.random.between(self.profile.chaos / 4, self.profile.chaos * 2);
        self.later(gap, Event::Chaos);
        let running = self.running();
        let leader = self.leader();
        let one = self.random.one_of(&running).copied();
        let Some(victim) = leader.filter(|_| self.random.chance(1, 2)).or(one) else {
            return;
        };
        match self.random.below(20) {
            0..=4 if self.profile.crashes > 0 => self.crash(victim),
            5 if self.profile.crashes > 0 => running.into_iter().for_each(|id| self.crash(id)),
            6..=9 if self.profile.partitions => self.part(victim),
            10 | 11 => {
                let until = self.now + self.random.between(100_000, 5_000_000);
                if let Some(member) = self.members.get_mut(&victim) {
                    member.still_until = until;
                }
            }
            12 | 13 if self.profile.transfers => {
                let to = one.unwrap_or(victim);
                let note = [7, victim, to];
                self.trace
                    .note(self.now, &note, || format!("{victim}: hands leadership to {to}"));
                self.inject(victim, Ask::Transfer(to));
            }
            14..=19 if self.profile.membership => self.change_members(leader.unwrap_or(victim)),
            _ => {}
        }
    }

    /// Cuts some off from the others: one, or any few; both ways or one way.
    fn part(&mut self, victim: u64) {
        let all: Vec<u64> = self.known().into_iter().collect();
        let mut one = vec![victim];
        if self.random.chance(1, 2) {
            one = all.iter().copied().filter(|_| self.random.chance(1, 2)).collect();
        }
        let mut other: Vec<u64> = all.into_iter().filter(|id| !one.contains(id)).collect();
        // Clients are on either side, or reach both.
        for client in 0..self.clients.len() as u64 {
            match self.random.below(3) {
                0 => one.push(CLIENTS + client),
                1 => other.push(CLIENTS + client),
                _ => {}
            }
        }
        if self.random.chance(1, 2) {
            self.network.heal();
        }
        let both_ways = self.random.chance(2, 3);
        self.trace.note(self.now, &[8], || {
            format!("network: {one:?} from {other:?}, both ways: {both_ways}")
        });
        self.network.part(&one, &other, both_ways);
        let length = self.random.between(50_000, 4_000_000);
        self.later(length, Event::Heal);
    }

    fn change_members(&mut self, leader: u64) {
        self.retire();
        let Some(members) = self.driver(leader).map(|driver| driver.replica.members().clone()) else {
            return;
        };
        let mut change = ConfChangeV2::default();
        if members.voters_outgoing.is_empty() {
            let count = if self.random.chance(1, 3) {
                self.random.between(2, 3)
            } else {
                1
            };
            let mut touched = BTreeSet::new();
            for _ in 0..count {
                let single = self.single(&members.voters, &members.learners);
                if touched.insert(single.node_id) {
                    change.changes.push(single);
                }
            }
            let transition = match self.random.below(4) {
                0 => ConfChangeTransition::Implicit,
                1 => ConfChangeTransition::Explicit,
                _ => ConfChangeTransition::Auto,
            };
            change.set_transition(transition);
        }
        let note = [9, leader, change.changes.len() as u64];
        self.trace.note(self.now, &note, || {
            format!("{leader}: is to change members: {change:?}")
        });
        self.inject(leader, Ask::Members(change));
    }

    /// One change of one member: a new learner, a learner made a voter, a voter made a learner, or one removed.
    fn single(&mut self, voters: &[u64], learners: &[u64]) -> ConfChangeSingle {
        let some_voter = self.random.one_of(voters).copied().unwrap_or(1);
        let (change_type, node_id) = match self.random.below(8) {
            0..=2 if self.running().len() < CROWD => {
                let id = self.known().last().copied().unwrap_or(0) + 1;
                self.add_member(id, Disk::default());
                self.later(1, Event::Start(id));
                let direct = self.random.chance(1, 3);
                let kind = if direct {
                    ConfChangeType::AddNode
                } else {
                    ConfChangeType::AddLearnerNode
                };
                (kind, id)
            }
            3 | 4 if !learners.is_empty() => {
                let learner = self.random.one_of(learners).copied().unwrap_or(some_voter);
                (ConfChangeType::AddNode, learner)
            }
            5 => (ConfChangeType::AddLearnerNode, some_voter),
            _ => {
                let all = [voters, learners].concat();
                let one = self.random.one_of(&all).copied().unwrap_or(some_voter);
                (ConfChangeType::RemoveNode, one)
            }
        };
        ConfChangeSingle {
            change_type: change_type.into(),
            node_id,
        }
    }

    /// Stops some of those that are no longer members, for good: once most voters know that they are not. Before that it
    /// may still be needed for an election.
    fn retire(&mut self) {
        let voters = self.oracle.members.voters.clone();
        // A member that was made for a change that may still come is no older than this.
        let newest = self.known().last().copied().unwrap_or(0);
        for id in self.running() {
            let without = |voter: &&u64| {
                let members = self.driver(**voter).map(|driver| driver.replica.members());
                members.is_some_and(|members| !everybody(members).contains(&id))
            };
            let most_know = 2 * voters.iter().filter(without).count() > voters.len();
            if most_know && id + 3 < newest && self.random.chance(1, 3) {
                self.crash(id);
                if let Some(member) = self.members.get_mut(&id) {
                    member.retired = true;
                }
            }
        }
    }

    /// Chaos ends, everybody starts again, and all must come to the same end.
    pub fn recover(&mut self) -> Result<(), Failure> {
        self.calm = true;
        self.network.heal();
        self.network.weather = Weather::CALM;
        self.trace.note(self.now, &[10], || "calm".to_owned());
        self.start_all()?;
        let deadline = self.now + RECOVERY;
        let mut next_look = self.now;
        while self.now < deadline {
            self.step()?;
            if self.now >= next_look {
                next_look = self.now + 200_000;
                self.start_all()?;
                if self.has_recovered() {
                    return self.compare_ends();
                }
            }
        }
        Err(Failure::new(format!(
            "nothing comes right after a minute of calm: {}",
            self.describe()
        )))
    }

    /// All start that are members, or may be; also one that was stopped for good too early, as its disk is still there.
    fn start_all(&mut self) -> Result<(), Failure> {
        let needed = everybody(&self.oracle.members);
        for (id, member) in &mut self.members {
            member.retired &= !needed.contains(id);
        }
        for id in self.known() {
            self.start(id)?;
        }
        Ok(())
    }

    fn compare_ends(&self) -> Result<(), Failure> {
        let members = &self.oracle.members;
        for id in members.voters.iter().chain(&members.learners) {
            if let Some(driver) = self.driver(*id) {
                self.oracle.ended(*id, driver.replica.store())?;
            }
        }
        Ok(())
    }

    fn has_recovered(&mut self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let Some(driver) = self.driver(leader) else {
            return false;
        };
        let members = driver.replica.members().clone();
        let applied = driver.replica.store().applied();
        let revision = driver.replica.store().snapshot().revision();
        let last = Key::new("namespaces", "", "the-end");
        if self.oracle.store().snapshot().get(&last).is_none() {
            let mut object = sampan_api::Object {
                api_version: "v1".to_owned(),
                kind: "Namespace".to_owned(),
                ..Default::default()
            };
            object.metadata.name = last.name.to_string();
            let plans = vec![Write::new(last, Operation::Create(object)).into()];
            let key = "the-end".to_owned();
            self.inject(leader, Ask::Commit { plans, key });
            return false;
        }
        if !members.voters_outgoing.is_empty() {
            self.inject(leader, Ask::Members(ConfChangeV2::default()));
            return false;
        }
        let all = members.voters.iter().chain(&members.learners);
        let agree = all.map(|id| self.driver(*id)).all(|driver| {
            driver.is_some_and(|driver| {
                driver.replica.store().applied() == applied && driver.published.revision() == revision
            })
        });
        agree && applied == self.oracle.store().applied()
    }

    /// Who is where, for people.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (id, member) in &self.members {
            text.push_str(&match &member.driver {
                None => format!("\n  {id}: down, retired: {}", member.retired),
                Some(driver) => format!(
                    "\n  {id}: {:?} of term {}, leader {}, applied {}, members {:?}",
                    driver.replica.role(),
                    driver.replica.term(),
                    driver.replica.leader(),
                    driver.replica.store().applied(),
                    driver.replica.members(),
                ),
            });
        }
        text.push_str(&format!(
            "\n  committed {}, revision {}",
            self.oracle.store().applied(),
            self.oracle.revision()
        ));
        text.push_str(&format!(", pods of a node {}", objects::PODS_OF_A_NODE));
        text
    }
}

/// All that have a part in a configuration.
fn everybody(members: &ConfState) -> BTreeSet<u64> {
    let lists = [
        &members.voters,
        &members.learners,
        &members.voters_outgoing,
        &members.learners_next,
    ];
    lists.into_iter().flatten().copied().collect()
}
