//! The instances at work in a slot: who decides and who decides beside, and who comes after one that fails.
//!
//! To make an instance and to tell it of a large cluster takes a while, in which nobody decides. So an instance stays with the
//! slot where it can be of use: a shadow's when the shadow becomes the active one, and that of the active one when another
//! takes its place, for as long as it is the one to go back to.
use super::fleet::{Fleet, LineUp, Member, Verdict};
use sampan_sandbox::CallError;
use std::sync::Arc;
use tokio::sync::watch;

/// An instance of a plugin.
pub struct Seat<P> {
    pub member: Member,
    pub instance: P,
}

#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// Decides.
    Active,
    /// Is asked too, and compared.
    Shadow,
}

/// Who sits in a slot.
pub struct Seats<P> {
    pub active: Option<Seat<P>>,
    pub shadow: Option<Seat<P>>,
    /// Who decided before, and is to again if the active one fails.
    reserve: Option<Seat<P>>,
    fleet: Arc<Fleet>,
    line_up: watch::Receiver<LineUp>,
    term: Option<u64>,
    /// Who failed too often while the line-up still names them.
    benched: Vec<Member>,
}

impl<P> Seats<P> {
    /// Of a slot, empty.
    pub fn new(fleet: Arc<Fleet>, slot: &str) -> Self {
        Seats {
            active: None,
            shadow: None,
            reserve: None,
            line_up: fleet.line_up(slot),
            fleet,
            term: None,
            benched: Vec::new(),
        }
    }

    /// Waits until the line-up is another.
    pub async fn line_up_changed(&mut self) {
        // The sender is the fleet's, which is kept here.
        let _ = self.line_up.changed().await;
    }

    /// Seats whom the line-up names by instances that `make` makes; who sits already stays.
    pub fn take_line_up(&mut self, term: Option<u64>, mut make: impl FnMut(&Member) -> Result<P, CallError>) {
        let news = self.line_up.has_changed().unwrap_or_default() || self.term != term;
        self.term = term;
        if news {
            self.benched.clear();
        }
        let LineUp {
            active,
            shadow,
            last_good,
            ..
        } = self.line_up.borrow_and_update().clone();
        let mut left = None;
        for (role, wanted) in [(Role::Active, active), (Role::Shadow, shadow)] {
            let sits = self.at(role).as_ref().map(|seat| &seat.member);
            let benched = wanted.as_ref().is_some_and(|wanted| self.benched.contains(wanted));
            if sits != wanted.as_ref() && !benched {
                if let (Role::Shadow, Some(wanted)) = (role, &wanted) {
                    wanted.comparison.lock().begin();
                }
                let before = self.at_mut(role).take();
                if matches!(role, Role::Active) {
                    left = before;
                }
                let seat = wanted.and_then(|member| self.seat(member, &mut make));
                *self.at_mut(role) = seat;
            }
        }
        self.reserve = left
            .or_else(|| self.reserve.take())
            .filter(|seat| last_good.as_ref() == Some(&seat.member));
    }

    /// Nobody sits any more.
    pub fn clear(&mut self) {
        (self.active, self.shadow, self.reserve) = (None, None, None);
    }

    /// Whether who sits is whom the state of this term wants: in a new term the line-up comes first.
    pub fn may_decide(&self) -> bool {
        self.term.is_some() && self.line_up.borrow().term == self.term
    }

    /// Asks who sits there, and while they fail who comes after. None if nobody is left.
    pub fn ask<R>(
        &mut self,
        role: Role,
        mut make: impl FnMut(&Member) -> Result<P, CallError>,
        mut ask: impl FnMut(&mut Seat<P>) -> Result<R, CallError>,
    ) -> Option<R> {
        loop {
            let mut seat = self.at_mut(role).take()?;
            match ask(&mut seat) {
                Ok(answer) => {
                    *self.at_mut(role) = Some(seat);
                    return Some(answer);
                }
                Err(error) => {
                    let next = self.after(seat.member, &error);
                    let seat = next.and_then(|member| self.seat(member, &mut make));
                    *self.at_mut(role) = seat;
                }
            }
        }
    }

    /// Asks who sits there, once. What it failed with is the caller's to judge, and the seat is empty then.
    pub fn ask_once<R>(
        &mut self,
        role: Role,
        ask: impl FnOnce(&mut Seat<P>) -> Result<R, CallError>,
    ) -> Option<Result<R, (Member, CallError)>> {
        let mut seat = self.at_mut(role).take()?;
        match ask(&mut seat) {
            Ok(answer) => {
                *self.at_mut(role) = Some(seat);
                Some(Ok(answer))
            }
            Err(error) => Some(Err((seat.member, error))),
        }
    }

    /// A fresh instance of who sat there; who comes after it if there is none to be had.
    pub fn afresh(&mut self, role: Role, member: Member, mut make: impl FnMut(&Member) -> Result<P, CallError>) {
        let seat = self.seat(member, &mut make);
        *self.at_mut(role) = seat;
    }

    /// Who sat there is not asked again: the last good one, or nobody.
    pub fn dismiss(
        &mut self,
        role: Role,
        member: Member,
        error: &CallError,
        mut make: impl FnMut(&Member) -> Result<P, CallError>,
    ) {
        let next = self.fleet.unfit(self.term, &member, error);
        self.benched.push(member);
        let seat = next.and_then(|member| self.seat(member, &mut make));
        *self.at_mut(role) = seat;
    }

    /// All instances, also of those who are not asked now.
    pub fn all(&mut self) -> impl Iterator<Item = &mut Seat<P>> {
        let sit = self.active.iter_mut().chain(&mut self.shadow);
        sit.chain(&mut self.reserve)
    }

    fn at(&self, role: Role) -> &Option<Seat<P>> {
        match role {
            Role::Active => &self.active,
            Role::Shadow => &self.shadow,
        }
    }

    fn at_mut(&mut self, role: Role) -> &mut Option<Seat<P>> {
        match role {
            Role::Active => &mut self.active,
            Role::Shadow => &mut self.shadow,
        }
    }

    /// A member in its seat, or who comes after it.
    fn seat(&mut self, member: Member, make: &mut impl FnMut(&Member) -> Result<P, CallError>) -> Option<Seat<P>> {
        let mut next = Some(member);
        while let Some(member) = next {
            let is_it = |seat: &mut Seat<P>| seat.member == member;
            let known = self.reserve.take_if(is_it).or_else(|| self.shadow.take_if(is_it));
            if known.is_some() {
                return known;
            }
            match make(&member) {
                Ok(instance) => return Some(Seat { member, instance }),
                Err(error) => next = self.after(member, &error),
            }
        }
        None
    }

    /// Who comes after one that failed: itself, until the breaker opens.
    fn after(&mut self, member: Member, error: &CallError) -> Option<Member> {
        match self.fleet.failed(self.term, &member, error) {
            Verdict::TryAgain => Some(member),
            Verdict::RolledBack(next) => {
                self.benched.push(member);
                next
            }
        }
    }
}
