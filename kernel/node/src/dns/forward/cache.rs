//! Answers of other servers, kept while they are fresh; bounded in number and bytes.
use super::{super::message::Question, Resolved};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

/// Answers kept at the most.
const MOST: usize = 8192;
/// Their bytes as they travelled, at the most. In memory they take some times that.
const MOST_BYTES: usize = 2 << 20;
/// The longest that an answer is kept, in seconds, and that there is nothing.
const LONGEST: u32 = 3600;
const LONGEST_NOTHING: u32 = 60;

#[derive(Debug)]
struct Kept {
    answer: Arc<Resolved>,
    at: Instant,
    until: Instant,
    bytes: usize,
    /// When it came in, among the others.
    turn: u64,
}

/// The cache. Time is an input.
#[derive(Debug, Default)]
pub struct Cache {
    kept: HashMap<Question, Kept>,
    by_turn: BTreeMap<u64, Question>,
    bytes: usize,
    turn: u64,
}

impl Cache {
    /// The answer with what is left of its time, if it is fresh.
    pub fn get(&self, question: &Question, now: Instant) -> Option<Resolved> {
        let kept = self.kept.get(question).filter(|kept| now < kept.until)?;
        let mut answer = (*kept.answer).clone();
        let age = u32::try_from(now.saturating_duration_since(kept.at).as_secs()).unwrap_or(u32::MAX);
        for record in answer.answers.iter_mut().chain(&mut answer.authorities) {
            record.ttl = record.ttl.saturating_sub(age);
        }
        Some(answer)
    }

    /// Keeps an answer of so many bytes, if it may be kept at all. What came in first makes room.
    pub fn put(&mut self, question: Question, answer: Arc<Resolved>, bytes: usize, now: Instant) {
        let Some(seconds) = answer.lifetime().filter(|seconds| *seconds > 0) else {
            return;
        };
        let longest = if answer.answers.is_empty() {
            LONGEST_NOTHING
        } else {
            LONGEST
        };
        self.remove(&question);
        self.turn += 1;
        self.bytes += bytes;
        self.by_turn.insert(self.turn, question.clone());
        let kept = Kept {
            answer,
            at: now,
            until: now + Duration::from_secs(seconds.min(longest).into()),
            bytes,
            turn: self.turn,
        };
        self.kept.insert(question, kept);
        while self.kept.len() > MOST || self.bytes > MOST_BYTES {
            let Some((_, oldest)) = self.by_turn.pop_first() else {
                return;
            };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, question: &Question) {
        if let Some(kept) = self.kept.remove(question) {
            self.by_turn.remove(&kept.turn);
            self.bytes -= kept.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::{
        op::ResponseCode,
        rr::{
            Name, RData, Record, RecordType,
            rdata::{A, SOA},
        },
    };
    use std::net::Ipv4Addr;

    fn question(number: usize) -> Question {
        let name = Name::from_ascii(format!("n{number}.example.")).unwrap();
        Question {
            name,
            kind: RecordType::A,
        }
    }

    fn address(ttl: u32) -> Arc<Resolved> {
        let record = Record::from_rdata(question(0).name, ttl, RData::A(A(Ipv4Addr::LOCALHOST)));
        let code = ResponseCode::NoError;
        Arc::new(Resolved {
            code,
            answers: vec![record],
            authorities: vec![],
        })
    }

    #[test]
    fn answers_age_and_go() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let later = |seconds| now + Duration::from_secs(seconds);
        cache.put(question(0), address(30), 100, now);
        assert_eq!(cache.get(&question(0), later(10)).unwrap().answers[0].ttl, 20);
        assert!(cache.get(&question(0), later(30)).is_none());
        cache.put(question(1), address(0), 100, now);
        assert!(cache.get(&question(1), now).is_none());
        let (a, b) = (question(1).name, question(2).name);
        let soa = SOA::new(a.clone(), b, 1, 1, 1, 1, 7);
        let nothing = |authorities| Resolved {
            code: ResponseCode::NXDomain,
            answers: vec![],
            authorities,
        };
        cache.put(question(2), Arc::new(nothing(vec![])), 100, now);
        assert!(cache.get(&question(2), now).is_none(), "nobody said for how long");
        let said = nothing(vec![Record::from_rdata(a, 50, RData::SOA(soa))]);
        cache.put(question(2), Arc::new(said), 100, now);
        assert!(cache.get(&question(2), later(6)).is_some() && cache.get(&question(2), later(7)).is_none());
    }

    #[test]
    fn there_is_an_end_to_it() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for number in 0..MOST + 10 {
            cache.put(question(number), address(30), 100, now);
        }
        assert!(cache.get(&question(9), now).is_none() && cache.get(&question(10), now).is_some());
        assert_eq!((cache.kept.len(), cache.by_turn.len()), (MOST, MOST));
        cache.put(question(10), address(30), MOST_BYTES - 150, now);
        assert!(cache.kept.len() <= 2 && cache.get(&question(10), now).is_some());
        cache.put(question(10), address(30), MOST_BYTES + 1, now);
        assert_eq!((cache.kept.len(), cache.bytes), (0, 0));
    }
}
