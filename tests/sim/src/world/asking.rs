//! Clients and watchers at work.
use super::{Event, PATIENCE, World};
use crate::{
    ask::{Ask, Reply, Request},
    clients::{Client, Trade},
    driver::Input,
    failure::Failure,
    network::CLIENTS,
    profile::Profile,
};
use std::collections::BTreeMap;

impl World {
    pub(super) fn add_clients(&mut self) {
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

    /// Asks a member at once, for nobody who waits.
    pub fn inject(&mut self, id: u64, ask: Ask) {
        let request = Request {
            client: usize::MAX,
            number: self.book.next(),
            ask,
        };
        self.hand(id, Input::Request(request));
    }

    pub(super) fn client(&mut self, client: usize) {
        if !self.calm {
            let asked = self.clients[client].ask(&mut self.book);
            self.ask(client, asked);
        }
        let rest = self.random.between(self.profile.rest / 4, self.profile.rest);
        self.later(rest, Event::Client(client));
    }

    pub(super) fn ask(&mut self, client: usize, asked: Option<(u64, Ask)>) {
        let Some((number, ask)) = asked else { return };
        let to = self.clients[client].target;
        if let Some(after) = self.arrival(CLIENTS + client as u64, to) {
            self.later(after, Event::Ask(to, Request { client, number, ask }));
        }
        self.later(PATIENCE, Event::Timeout(client, number));
    }

    pub(super) fn reply(&mut self, client: usize, number: u64, reply: Reply) -> Result<(), Failure> {
        let members = self.running();
        self.trace.note(self.now, &[6, client as u64, number], || {
            format!("client {client}: answer to {number}")
        });
        let again = self.clients[client].answered(number, reply, &members, &mut self.book, &self.oracle)?;
        self.ask(client, again);
        Ok(())
    }

    pub(super) fn look(&mut self, watcher: usize) -> Result<(), Failure> {
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
}
