//! The world: members, clients and the network between them, as a queue of events on one thread.
use crate::{
    ask::{Ask, Reply, Request},
    clients::{Book, Client, Trade},
    disk::Disk,
    driver::{Driver, Effect, Input},
    failure::Failure,
    network::{CLIENTS, Network},
    oracle::Oracle,
    profile::Profile,
    random::Random,
    trace::Trace,
    watch::Watcher,
};
use sampan_state::{
    Replica, Role, Settings, encode_checkpoint,
    eraftpb::{ConfState, Message, MessageType},
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

    fn add_clients(&mut self) {
        let Profile {
            writers,
            schedulers,
            operators,
            ..
        } = self.profile;
        let mut trades = vec![Trade::Founder, Trade::Maker];
        trades.extend((0..writers).map(|_| Trade::Writer(BTreeMap::new())));
        trades.extend((0..schedulers).map(|_| Trade::Scheduler));
        trades.extend((0..operators).map(|_| Trade::Operator));
        for (at, trade) in trades.into_iter().enumerate() {
            self.clients.push(Client::new(at, trade));
            self.later(at as u64, Event::Client(at));
        }
        for watcher in 0..self.watchers.len() {
            self.later(watcher as u64, Event::Look(watcher));
        }
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

    /// A member starts from its disk.
    pub fn start(&mut self, id: u64) -> Result<(), Failure> {
        let (settings, now) = (
            Settings {
                seed: self.random.number(),
                kept_entries: self.profile.kept_entries,
            },
            self.now,
        );
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        if member.driver.is_some() || member.retired {
            return Ok(());
        }
        let cannot = |why: String| Failure::new(format!("member {id} cannot start: {why}"));
        let (store, recovered) = member
            .disk
            .recover(CLUSTER)
            .map_err(|error| cannot(error.to_string()))?;
        self.oracle.started(id, &recovered, &store)?;
        let replica = Replica::new(id, store, recovered, settings).map_err(|error| cannot(error.to_string()))?;
        member.run += 1;
        let driver = Driver::new(
            id,
            replica,
            self.profile.fault,
            member.clock_skew,
            self.profile.checkpoint_after,
        );
        member.driver = Some(driver);
        let run = member.run;
        self.trace.note(now, &[1, id, run], || format!("{id}: starts"));
        let first = self.random.below(TICK);
        self.later(first, Event::Tick(id, run));
        self.wake(id);
        Ok(())
    }

    /// A member loses all that is not safe on its disk.
    pub fn crash(&mut self, id: u64) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        if member.driver.take().is_none() {
            return;
        }
        member.disk.crash(&mut self.random);
        self.crashes += 1;
        self.trace.note(self.now, &[2, id], || format!("{id}: crashes"));
        // One that is back at once may be asked again what it forgot.
        let long = self.random.chance(1, 2);
        let away = self.random.between(1_000, if long { 3_000_000 } else { 50_000 });
        self.later(away, Event::Start(id));
    }

    /// Something arrives at a member.
    pub fn hand(&mut self, id: u64, input: Input) {
        if let Some(driver) = self.members.get_mut(&id).and_then(|member| member.driver.as_mut()) {
            driver.inbox.push_back(input);
            self.wake(id);
        }
    }

    fn wake(&mut self, id: u64) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let run = member.run;
        if let Some(driver) = member.driver.as_mut().filter(|driver| !driver.busy) {
            driver.busy = true;
            self.later(10, Event::Turn(id, run));
        }
    }

    /// Asks a member at once, for nobody who waits.
    pub fn inject(&mut self, id: u64, ask: Ask) {
        let request = Request {
            client: usize::MAX,
            number: self.book.next(),
            ask,
        };
        self.hand(id, Input::Request(request));
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

    fn deliver(&mut self, message: Box<Message>) {
        let (from, to, index) = (message.from, message.to, message.index);
        let kind = message.msg_type;
        self.trace.note(
            self.now,
            &[
                3,
                from,
                to,
                u64::from(kind.unsigned_abs()),
                index,
                message.term,
                message.commit,
            ],
            || {
                format!(
                    "{to}: hears {:?} of {from}, term {}, index {index}",
                    message.msg_type(),
                    message.term
                )
            },
        );
        let arrived = self.driver(to).is_some();
        if message.msg_type() == MessageType::MsgSnapshot {
            self.snapshots += u64::from(arrived);
            self.later(1_000, Event::SnapshotSent(from, to, arrived));
        }
        self.hand(to, Input::Message(message));
    }

    /// A member does what it can until it has to wait.
    fn turn(&mut self, id: u64, run: u64) -> Result<(), Failure> {
        let still = self
            .members
            .get(&id)
            .map_or(0, |member| member.still_until.saturating_sub(self.now));
        if still > 0 && !self.calm {
            self.later(still, Event::Turn(id, run));
            return Ok(());
        }
        loop {
            let crash = !self.calm && self.random.chance(self.profile.crashes, 100_000);
            if crash {
                self.crash(id);
                return Ok(());
            }
            let (now, mut numbers) = (self.now, self.numbers);
            let Some(Member {
                disk,
                driver: Some(driver),
                ..
            }) = self.run_of(id, run)
            else {
                return Ok(());
            };
            let effects = driver
                .step(disk, now, &mut numbers)
                .map_err(|error| Failure::new(format!("member {id} cannot go on: {error}")))?;
            self.numbers = numbers;
            for effect in effects {
                match effect {
                    Effect::Rest => {
                        if let Some(driver) = self.members.get_mut(&id).and_then(|member| member.driver.as_mut()) {
                            driver.busy = false;
                        }
                        return Ok(());
                    }
                    Effect::Wait => {
                        let (least, most) = self.profile.disk;
                        let wait = self.random.between(least, most);
                        self.later(wait, Event::Turn(id, run));
                        return Ok(());
                    }
                    effect => self.take_effect(id, run, effect)?,
                }
            }
            self.check_role(id)?;
        }
    }

    fn check_role(&mut self, id: u64) -> Result<(), Failure> {
        match self
            .driver(id)
            .map(|driver| (driver.replica.role(), driver.replica.term()))
        {
            Some((Role::Leader, term)) => self.oracle.leads(id, term),
            _ => Ok(()),
        }
    }

    fn take_effect(&mut self, id: u64, run: u64, effect: Effect) -> Result<(), Failure> {
        match effect {
            Effect::Send(message) => self.send(message),
            Effect::Reply(client, number, reply) if client < self.clients.len() => {
                if let Some(after) = self.arrival(id, CLIENTS + client as u64) {
                    self.later(after, Event::Reply(client, number, reply));
                }
            }
            Effect::Appended(record) => self.oracle.appended(id, &record)?,
            Effect::Restored(index, term) => {
                let driver = self.members.get(&id).and_then(|member| member.driver.as_ref());
                if let Some(driver) = driver {
                    self.oracle.restored(id, index, term, driver.replica.store())?;
                    self.joint_snapshots += u64::from(!driver.replica.members().voters_outgoing.is_empty());
                }
            }
            Effect::Applied => {
                let driver = self.members.get(&id).and_then(|member| member.driver.as_ref());
                if let Some(driver) = driver {
                    let (store, members) = (driver.replica.store(), driver.replica.members());
                    self.oracle.applied(id, store, members)?;
                    let applied = store.applied();
                    self.trace
                        .note(self.now, &[5, id, applied], || format!("{id}: applied {applied}"));
                }
            }
            Effect::CheckpointBegun => {
                let length = self.random.between(1_000, 200_000);
                self.later(length, Event::CheckpointDone(id, run));
            }
            Effect::Reply(..) | Effect::Wait | Effect::Rest => {}
        }
        Ok(())
    }

    fn send(&mut self, message: Box<Message>) {
        let mut arrivals = self.network.arrivals(message.from, message.to, &mut self.random);
        match message.msg_type() {
            // Whoever brings proposals must not bring one twice: without a key it would act twice.
            MessageType::MsgPropose => arrivals.truncate(1),
            MessageType::MsgSnapshot if arrivals.is_empty() => {
                self.later(TICK, Event::SnapshotSent(message.from, message.to, false));
            }
            _ => {}
        }
        for after in arrivals {
            self.later(after, Event::Deliver(message.clone()));
        }
    }

    /// When a message that cannot come twice arrives.
    fn arrival(&mut self, from: u64, to: u64) -> Option<u64> {
        self.network.arrivals(from, to, &mut self.random).first().copied()
    }

    fn client(&mut self, client: usize) {
        if !self.calm {
            let asked = self.clients[client].ask(&mut self.book);
            self.ask(client, asked);
        }
        let rest = self.random.between(self.profile.rest / 4, self.profile.rest);
        self.later(rest, Event::Client(client));
    }

    fn ask(&mut self, client: usize, asked: Option<(u64, Ask)>) {
        let Some((number, ask)) = asked else { return };
        let to = self.clients[client].target;
        if let Some(after) = self.arrival(CLIENTS + client as u64, to) {
            self.later(after, Event::Ask(to, Request { client, number, ask }));
        }
        self.later(PATIENCE, Event::Timeout(client, number));
    }

    fn reply(&mut self, client: usize, number: u64, reply: Reply) -> Result<(), Failure> {
        let members = self.running();
        self.trace.note(self.now, &[6, client as u64, number], || {
            format!("client {client}: answer to {number}")
        });
        let again = self.clients[client].answered(number, reply, &members, &mut self.book, &self.oracle)?;
        self.ask(client, again);
        Ok(())
    }

    fn look(&mut self, watcher: usize) -> Result<(), Failure> {
        let running = self.running();
        let lost = !running.contains(&self.watchers[watcher].member);
        if (lost || self.random.chance(1, 25))
            && let Some(member) = self.random.one_of(&running).copied()
        {
            self.watchers[watcher].move_to(member);
        }
        let Some(state) = self
            .driver(self.watchers[watcher].member)
            .map(|driver| driver.published.clone())
        else {
            self.later(50_000, Event::Look(watcher));
            return Ok(());
        };
        self.watchers[watcher].look(&state, &self.oracle, self.profile.fault, &mut self.random)?;
        self.later(40_000, Event::Look(watcher));
        Ok(())
    }

    /// Ids of all that were ever there.
    pub fn known(&self) -> BTreeSet<u64> {
        self.members.keys().copied().collect()
    }
}
