//! A slot: the plugin that fills it, the one that is to take its place, and what is wanted.
//!
//! Who comes is told everything on an empty sum first, and takes the place with what differs from what was wanted before;
//! until then the one before goes on. After a failure what was wanted last stays, and a fresh instance is asked soon; after
//! three within a minute the last good one is.
use super::{
    failures::Failure,
    feed,
    fleet::LineUp,
    objects::{News, Objects},
    planner::Planner,
    turn::Turn,
};
use sampan_sandbox::{
    CallError, Loaded,
    network::{Delta, Identity},
};
use std::{collections::BTreeSet, sync::Arc, time::Instant};

/// A plugin as its object wants it, loaded.
#[derive(Clone)]
pub struct Member {
    pub name: String,
    pub loaded: Arc<Loaded>,
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.loaded, &other.loaded)
    }
}

/// An instance at work.
struct Seat<P: Planner> {
    member: Member,
    plugin: P,
    watches: BTreeSet<String>,
    tables: Vec<P::Table>,
    /// What it has not been told yet.
    untold: Vec<Delta>,
}

/// A slot.
pub struct Slot<P: Planner> {
    seat: Option<Seat<P>>,
    /// Waits until all is known that it wants to be told.
    coming: Option<Seat<P>>,
    /// What is wanted.
    pub sum: P::Sum,
    turn: Turn,
}

impl<P: Planner> Default for Slot<P> {
    fn default() -> Self {
        Self::resuming(P::Sum::default())
    }
}

impl<P: Planner> Slot<P> {
    /// One that begins with what was wanted before.
    pub fn resuming(sum: P::Sum) -> Self {
        Slot {
            seat: None,
            coming: None,
            sum,
            turn: Turn::default(),
        }
    }

    /// The tables that it fills.
    pub fn tables(&self) -> &[P::Table] {
        self.seat.as_ref().map_or(&[], |seat| &seat.tables)
    }

    /// Who fills it.
    pub fn decides(&self) -> Option<&str> {
        self.seat.as_ref().map(|seat| seat.member.name.as_str())
    }

    /// The resources that its instances want to be told of.
    pub fn watches(&self) -> impl Iterator<Item = &String> {
        let both = [&self.seat, &self.coming];
        both.into_iter().flatten().flat_map(|seat| &seat.watches)
    }

    /// Whether somebody is still to take the place, or has not been told all.
    pub fn is_behind(&self) -> bool {
        self.coming.is_some() || self.seat.as_ref().is_some_and(|seat| !seat.untold.is_empty())
    }

    /// When it is to be asked again after a failure.
    pub fn due(&self) -> Option<Instant> {
        self.turn.due()
    }

    /// Brings in whom the line-up names: the active one, or else the last good one. `taken` are the tables of other slots.
    pub fn seat(&mut self, line_up: &LineUp, me: &Identity, taken: &[P::Table]) -> Result<(), Failure> {
        let last = self.coming.as_ref().or(self.seat.as_ref()).map(|seat| &seat.member);
        let Some(wanted) = self.turn.next(line_up, last) else {
            return Ok(());
        };
        match bring(wanted, me, taken) {
            Ok(seat) => self.coming = Some(seat),
            Err(error) => {
                self.coming = None;
                return Err(self.turn.failed(wanted.clone(), &error));
            }
        }
        Ok(())
    }

    /// Takes in what is new.
    pub fn take(&mut self, news: &News) {
        // Who is coming is told everything when it is his turn.
        if let Some(seat) = self
            .seat
            .as_mut()
            .filter(|seat| seat.watches.contains(&*news.key.resource))
        {
            seat.untold.push(news.delta());
        }
    }

    /// Asks for what differs, and makes it what is wanted.
    pub fn ask(&mut self, objects: &Objects, bounds: &P::Bounds) -> Result<Vec<P::Op>, Failure> {
        if let Some(coming) = self.coming.take_if(|coming| knows_all(coming, objects)) {
            return self.replace(coming, objects, bounds);
        }
        let Some(mut seat) = self.seat.take_if(|seat| !seat.untold.is_empty()) else {
            return Ok(Vec::new());
        };
        let untold = std::mem::take(&mut seat.untold);
        match seat.plugin.plan(&untold, bounds, &mut self.sum) {
            Ok(ops) => {
                self.seat = Some(seat);
                self.turn.succeeded();
                Ok(ops)
            }
            Err(error) => Err(self.turn.failed(seat.member, &error)),
        }
    }

    fn replace(&mut self, mut coming: Seat<P>, objects: &Objects, bounds: &P::Bounds) -> Result<Vec<P::Op>, Failure> {
        let mut wanted = P::Sum::default();
        let all = objects.deltas(&coming.watches);
        match coming.plugin.plan(&all, bounds, &mut wanted) {
            Ok(_) => {
                let ops = P::changes(&self.sum, &wanted);
                self.sum = wanted;
                self.seat = Some(coming);
                self.turn.succeeded();
                Ok(ops)
            }
            Err(error) => Err(self.turn.failed(coming.member, &error)),
        }
    }
}

fn knows_all<P: Planner>(seat: &Seat<P>, objects: &Objects) -> bool {
    // The bounds that its plan is held against are made of what nodes always follow.
    let mut needed = seat.watches.iter().map(String::as_str).chain(feed::ALWAYS);
    needed.all(|resource| objects.is_synced(resource))
}

fn bring<P: Planner>(member: &Member, me: &Identity, taken: &[P::Table]) -> Result<Seat<P>, CallError> {
    let mut plugin = P::make(&member.loaded)?;
    let watches = plugin.watches()?.into_iter().collect();
    let tables = start(&mut plugin, me, taken)?;
    Ok(Seat {
        member: member.clone(),
        plugin,
        watches,
        tables,
        untold: Vec::new(),
    })
}

/// Starts a fresh plugin; the tables that it fills, of which others fill none.
///
/// # Errors
/// What it failed with.
pub fn start<P: Planner>(plugin: &mut P, me: &Identity, taken: &[P::Table]) -> Result<Vec<P::Table>, CallError> {
    let tables = plugin.start(me)?;
    match tables.iter().find(|table| taken.contains(table)) {
        Some(table) => {
            let what = format!("it fills the table {table}, as the plugin of another slot does");
            Err(CallError::Rubbish(what))
        }
        None => Ok(tables),
    }
}
