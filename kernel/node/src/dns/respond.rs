//! What a packet is answered with: from the zone at once, or from elsewhere after a while.
use super::{
    figures::{Figure, Figures},
    forward::Forwarder,
    message::{Question, Refused, Reply, Request, Way},
    zone::{Answer, Zone},
};
use hickory_proto::{
    op::ResponseCode,
    rr::{Record, RecordType},
};
use parking_lot::RwLock;
use std::sync::Arc;

/// Aliases that are followed one after the other at the most.
const CHAIN: usize = 8;

pub struct Responder {
    pub zone: RwLock<Zone>,
    pub forwarder: Arc<Forwarder>,
    pub figures: Arc<Figures>,
}

/// What becomes of a packet.
pub enum Step {
    Nothing,
    Send(Vec<u8>),
    /// Others have to be asked.
    Ask(Request, Onward),
}

/// What is known when others have to be asked.
pub struct Onward {
    /// The aliases so far.
    answers: Vec<Record>,
    question: Question,
}

impl Responder {
    /// Answers without waiting for anything, where that can be.
    pub fn at_once(&self, packet: &[u8], way: Way) -> Step {
        let request = match Request::read(packet, way) {
            Ok(request) => request,
            Err(refused) => {
                self.figures.count(Figure::Malformed);
                return match refused {
                    Refused::Silently => Step::Nothing,
                    Refused::With(_, bytes) => Step::Send(bytes),
                };
            }
        };
        match self.own(&request) {
            Ok(reply) => Step::Send(self.encode(&request, reply)),
            Err(onward) => match self.forwarder.kept(&onward.question) {
                Some(kept) => Step::Send(self.encode(&request, onward.with(kept))),
                None => Step::Ask(request, onward),
            },
        }
    }

    /// Asks others.
    pub async fn asked(&self, request: Request, onward: Onward) -> Vec<u8> {
        let reply = match self.forwarder.resolve(onward.question.clone()).await {
            Some(answer) => onward.with(answer),
            None => {
                self.figures.count(Figure::Unanswered);
                Reply::code(ResponseCode::ServFail)
            }
        };
        self.encode(&request, reply)
    }

    fn encode(&self, request: &Request, reply: Reply) -> Vec<u8> {
        if !reply.authoritative {
            self.figures.count(Figure::Forwarded);
        }
        let (bytes, truncated) = request.encode(reply);
        if truncated {
            self.figures.count(Figure::Truncated);
        }
        bytes
    }

    /// The zone's answer; aliases are followed as far as they stay within it.
    fn own(&self, request: &Request) -> Result<Reply, Onward> {
        let zone = self.zone.read();
        let mut question = request.question();
        let mut name = request.name().clone();
        let mut answers = Vec::new();
        for _ in 0..CHAIN {
            let mut reply = Reply {
                authoritative: true,
                ..Reply::code(ResponseCode::NoError)
            };
            let figure = match zone.answer(&name, question.kind) {
                Answer::NotOurs => return Err(Onward { answers, question }),
                Answer::Alias { record, target } => {
                    answers.push(record);
                    if !matches!(question.kind, RecordType::CNAME | RecordType::ANY) {
                        question.name = target.to_lowercase();
                        name = target;
                        continue;
                    }
                    Figure::Found
                }
                Answer::Found {
                    answers: found,
                    additionals,
                } => {
                    answers.extend(found);
                    reply.additionals = additionals;
                    Figure::Found
                }
                Answer::NoData { soa } => {
                    reply.authorities.push(soa);
                    Figure::NoData
                }
                Answer::NoName { soa } => {
                    reply.code = ResponseCode::NXDomain;
                    reply.authorities.push(soa);
                    Figure::NoName
                }
            };
            self.figures.count(figure);
            reply.answers = answers;
            return Ok(reply);
        }
        // Services that are names for each other.
        Ok(Reply {
            authoritative: true,
            ..Reply::code(ResponseCode::ServFail)
        })
    }
}

impl Onward {
    fn with(self, resolved: super::forward::Resolved) -> Reply {
        let mut answers = self.answers;
        answers.extend(resolved.answers);
        Reply {
            code: resolved.code,
            authoritative: false,
            answers,
            authorities: resolved.authorities,
            additionals: Vec::new(),
        }
    }
}
