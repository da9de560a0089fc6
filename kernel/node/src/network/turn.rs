//! Whose turn it is in a slot: the active plugin's, or that of the last good one where it fails too often; and when one that
//! failed is tried again.
use super::{failures::Failure, fleet::LineUp, retry::Retry, slot::Member};
use sampan_sandbox::{Breaker, CallError};
use std::time::Instant;

/// What is known of those who were tried.
#[derive(Default)]
pub struct Turn {
    breaker: Breaker,
    retry: Retry,
    /// Who is not asked again, while the line-up still names him.
    benched: Vec<Member>,
}

impl Turn {
    /// When somebody is to be tried again after a failure.
    pub fn due(&self) -> Option<Instant> {
        self.retry.due()
    }

    /// Who is to be brought in now; none if he sits there already, or it is too early after a failure.
    pub fn next<'a>(&mut self, line_up: &'a LineUp, sits: Option<&Member>) -> Option<&'a Member> {
        let both = || line_up.active.iter().chain(&line_up.last_good);
        self.benched.retain(|member| both().any(|named| named == member));
        let wanted = both().find(|member| !self.benched.contains(member));
        let wanted = wanted.filter(|member| sits != Some(member));
        if wanted.is_some() && self.retry.is_early(Instant::now()) {
            return None;
        }
        self.retry.began();
        wanted
    }

    /// What was asked of him went well.
    pub fn succeeded(&mut self) {
        self.retry.succeeded();
    }

    /// He failed. After three failures within a minute he is not asked again.
    pub fn failed(&mut self, member: Member, error: &CallError) -> Failure {
        let now = Instant::now();
        let failure = Failure {
            plugin: member.name.clone(),
            why: error.to_string(),
            given_up: self.breaker.failed(now),
        };
        self.retry.failed(now, failure.given_up);
        if failure.given_up {
            self.breaker = Breaker::default();
            self.benched.push(member);
        }
        failure
    }
}
