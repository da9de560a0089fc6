//! The world: members, clients and the network between them, as a queue of events on one thread.
mod asking;
mod members;

use crate::{
    ask::{Reply, Request},
    clients::{Book, Client},
    disk::Disk,
    driver::{Driver, Input},
    failure::Failure,
    network::Network,
    oracle::Oracle,
    profile::Profile,
    random::Random,
    trace::Trace,
    watch::Watcher,
};
use sampan_state::{
    Role, encode_checkpoint,
    eraftpb::{ConfState, Message},
    genesis,
};
use std::collections::{BTreeMap, BTreeSet};

/// The length of a tick, in microseconds.
const TICK: u64 = 100_000;

/// How long a client waits for an answer.
const PATIENCE: u64 = 1_500_000;

const CLUSTER: &str = "sim";

/// What is to happen.
pub enum Event {
    Start(u64),
    /// Of a run of a member: runs before and after it do not hear it.
    Tick(u64, u64),
    Turn(u64, u64),
    CheckpointDone(u64, u64),
    SnapshotSent(u64, u64, bool),
    Deliver(Box<Message>),
    Ask(u64, Request),
    Reply(usize, u64, Reply),
    Client(usize),
    Timeout(usize, u64),
    Look(usize),
    Heal,
    Chaos,
}

/// A member: its disk, and while it runs its driver.
pub struct Member {
    pub disk: Disk,
    pub driver: Option<Driver>,
    /// Counts its runs.
    pub run: u64,
    /// It was removed, and will not start again.
    pub retired: bool,
    /// It does nothing before: a machine that stands still.
    pub still_until: u64,
    clock_skew: u64,
}

pub struct World {
    pub profile: Profile,
    pub now: u64,
    pub random: Random,
    pub trace: Trace,
    pub members: BTreeMap<u64, Member>,
    pub network: Network,
    pub oracle: Oracle,
    pub clients: Vec<Client>,
    pub watchers: Vec<Watcher>,
    pub book: Book,
    /// Chaos and clients have ended: what was begun is to come to its end.
    pub calm: bool,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    /// Numbers for the contexts of proposals.
    numbers: u64,
    /// Crashes so far, and states received whole.
    pub crashes: u64,
    pub snapshots: u64,
    /// States received whole in the middle of a change of members.
    pub joint_snapshots: u64,
}

impl World {
    pub fn new(seed: u64, profile: Profile, print: bool) -> Result<Self, Failure> {
        let mut random = Random::new(seed);
        let voters: Vec<u64> = (1..=profile.members).collect();
        let members = ConfState {
            voters: voters.clone(),
            ..ConfState::default()
        };
        let (store, header) = genesis(CLUSTER, members.clone());
        let beginning: Vec<u8> = encode_checkpoint(&header, &store).flatten().collect();
        let mut world = World {
            now: 0,
            trace: Trace::new(print),
            members: BTreeMap::new(),
            network: Network::new(profile.weather),
            oracle: Oracle::new(store, members),
            clients: Vec::new(),
            watchers: (0..profile.watchers).map(|_| Watcher::default()).collect(),
            book: Book {
                random: Random::new(random.number()),
                clock: 0,
                history: Vec::new(),
                given: 0,
                acknowledged: 0,
                begun: false,
                freshness: profile.freshness.clone(),
                commits: 0,
            },
            calm: false,
            queue: BTreeMap::new(),
            queued: 0,
            numbers: 1,
            crashes: 0,
            snapshots: 0,
            joint_snapshots: 0,
            random,
            profile,
        };
        for id in voters {
            let disk = Disk::founded(beginning.clone().into(), header.index);
            world.add_member(id, disk);
            world.start(id)?;
        }
        world.add_clients();
        world.later(world.profile.chaos, Event::Chaos);
        Ok(world)
    }

    pub fn add_member(&mut self, id: u64, disk: Disk) {
        let clock_skew = self.random.below(5_000);
        let member = Member {
            disk,
            driver: None,
            run: 0,
            retired: false,
            still_until: 0,
            clock_skew,
        };
        self.members.insert(id, member);
    }

    pub fn later(&mut self, after: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((self.now + after, self.queued), event);
    }

    pub fn running(&self) -> Vec<u64> {
        let running = self.members.iter().filter(|(_, member)| member.driver.is_some());
        running.map(|(id, _)| *id).collect()
    }

    pub fn driver(&self, id: u64) -> Option<&Driver> {
        self.members.get(&id)?.driver.as_ref()
    }

    /// The driver of a run of a member.
    fn run_of(&mut self, id: u64, run: u64) -> Option<&mut Member> {
        let member = self.members.get_mut(&id)?;
        (member.run == run && member.driver.is_some()).then_some(member)
    }

    /// Whom most would call the leader.
    pub fn leader(&self) -> Option<u64> {
        let drivers = self
            .members
            .iter()
            .filter_map(|(id, member)| Some((id, member.driver.as_ref()?)));
        let leaders = drivers.filter(|(_, driver)| driver.replica.role() == Role::Leader);
        leaders
            .max_by_key(|(_, driver)| driver.replica.term())
            .map(|(id, _)| *id)
    }

    /// The next event; false if nothing will ever happen again.
    pub fn step(&mut self) -> Result<bool, Failure> {
        let Some(((when, _), event)) = self.queue.pop_first() else {
            return Ok(false);
        };
        self.now = when;
        match event {
            Event::Start(id) => self.start(id)?,
            Event::Tick(id, run) => {
                if let Some(member) = self.run_of(id, run) {
                    // One that is late ticks once.
                    let inbox = member.driver.as_ref().map(|driver| &driver.inbox);
                    let ticks = |input: &Input| matches!(input, Input::Tick);
                    if inbox.is_some_and(|inbox| !inbox.iter().any(ticks)) {
                        self.hand(id, Input::Tick);
                    }
                    // Clocks do not all run at the same speed.
                    let length = TICK - TICK / 20 + self.random.below(TICK / 10);
                    self.later(length, Event::Tick(id, run));
                }
            }
            Event::Turn(id, run) => self.turn(id, run)?,
            Event::CheckpointDone(id, run) => {
                if let Some(Member {
                    disk,
                    driver: Some(driver),
                    ..
                }) = self.run_of(id, run)
                {
                    driver.checkpoint_done(disk);
                }
            }
            Event::SnapshotSent(from, to, arrived) => self.hand(from, Input::SnapshotSent { to, arrived }),
            Event::Deliver(message) => self.deliver(message),
            Event::Ask(id, request) => {
                self.trace.note(self.now, &[4, id, request.number], || {
                    format!("{id}: is asked {request:?}")
                });
                self.hand(id, Input::Request(request));
            }
            Event::Reply(client, number, reply) => self.reply(client, number, reply)?,
            Event::Client(client) => self.client(client),
            Event::Timeout(client, number) => {
                let members = self.running();
                let again = self.clients[client].timed_out(number, &members, &mut self.book);
                self.ask(client, again);
            }
            Event::Look(watcher) => self.look(watcher)?,
            Event::Heal => self.network.heal(),
            Event::Chaos => self.chaos(),
        }
        Ok(true)
    }

    /// When a message that cannot come twice arrives.
    fn arrival(&mut self, from: u64, to: u64) -> Option<u64> {
        self.network.arrivals(from, to, &mut self.random).first().copied()
    }

    /// Ids of all that were ever there.
    pub fn known(&self) -> BTreeSet<u64> {
        self.members.keys().copied().collect()
    }
}
