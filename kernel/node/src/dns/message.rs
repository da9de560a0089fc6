//! Messages as they travel: which are answered at all, and how an answer is made to fit.
//!
//! The header is looked at before anything is parsed, so that what a message claims to hold costs nothing.
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, Record, RecordType},
};

/// The largest request that is read. Bytes.
pub const MAX_REQUEST: usize = 4096;

/// Answers by UDP are at most so large: what gets through anywhere in one piece. Bytes.
pub const MAX_UDP: u16 = 1232;

/// What who says nothing of itself takes by UDP. Bytes.
const PLAIN_UDP: u16 = 512;

const HEADER: usize = 12;

/// The way a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Udp,
    Tcp,
}

/// What is asked for; the name in small letters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    pub name: Name,
    pub kind: RecordType,
}

/// A request that can be answered.
#[derive(Clone, Debug)]
pub struct Request {
    id: u16,
    recursion_desired: bool,
    query: Query,
    edns: bool,
    /// The largest answer it takes. Bytes.
    limit: u16,
}

/// What a request is answered with.
#[derive(Clone, Debug)]
pub struct Reply {
    pub code: ResponseCode,
    /// It is of the cluster's own zones.
    pub authoritative: bool,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    pub additionals: Vec<Record>,
}

impl Reply {
    pub fn code(code: ResponseCode) -> Self {
        Reply {
            code,
            authoritative: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
        }
    }
}

/// Why a packet is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nobody is to be answered: it is too short, or is an answer itself.
    Silently,
    With(ResponseCode, Vec<u8>),
}

impl Request {
    /// Reads a packet.
    ///
    /// # Errors
    /// What it is to be answered with instead, if anything.
    pub fn read(packet: &[u8], way: Way) -> Result<Self, Refused> {
        let Some(&[a, b, flags, _, counts @ .., many, additionals]) = packet.first_chunk::<HEADER>() else {
            return Err(Refused::Silently);
        };
        let is_response = flags & 0x80 != 0;
        if is_response {
            return Err(Refused::Silently);
        }
        let refused = |code| Refused::With(code, bare([a, b], flags, code));
        if flags & 0x78 != 0 {
            return Err(refused(ResponseCode::NotImp));
        }
        // One question, no answers, no authorities, and little besides.
        if counts != [0, 1, 0, 0, 0, 0] || many > 0 || additionals > 4 || packet.len() > MAX_REQUEST {
            return Err(refused(ResponseCode::FormErr));
        }
        let mut message = Message::from_vec(packet).map_err(|_| refused(ResponseCode::FormErr))?;
        let query = message.queries.pop().ok_or(Refused::Silently)?;
        let request = Request {
            id: u16::from_be_bytes([a, b]),
            recursion_desired: flags & 1 != 0,
            limit: match (way, &message.edns) {
                (Way::Tcp, _) => u16::MAX,
                (Way::Udp, None) => PLAIN_UDP,
                (Way::Udp, Some(edns)) => edns.max_payload().clamp(PLAIN_UDP, MAX_UDP),
            },
            edns: message.edns.is_some(),
            query,
        };
        let no = match () {
            () if message.edns.is_some_and(|edns| edns.version() > 0) => ResponseCode::BADVERS,
            () if request.query.query_class != DNSClass::IN => ResponseCode::Refused,
            () if matches!(request.query.query_type, RecordType::AXFR | RecordType::IXFR) => ResponseCode::Refused,
            () => return Ok(request),
        };
        Err(Refused::With(no, request.encode(Reply::code(no)).0))
    }

    pub fn question(&self) -> Question {
        Question {
            name: self.query.name.to_lowercase(),
            kind: self.query.query_type,
        }
    }

    /// The name as it was asked for.
    pub fn name(&self) -> &Name {
        &self.query.name
    }

    /// The answer's bytes, and whether it had to be left out because it is too large for the way it is to go.
    pub fn encode(&self, mut reply: Reply) -> (Vec<u8>, bool) {
        self.turn(&mut reply.answers);
        let mut message = Message::response(self.id, OpCode::Query);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.recursion_available = true;
        message.metadata.authoritative = reply.authoritative;
        message.metadata.response_code = reply.code;
        message.queries.push(self.query.clone());
        message.answers = reply.answers;
        message.authorities = reply.authorities;
        message.additionals = reply.additionals;
        if self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(MAX_UDP);
            message.set_edns(edns);
        }
        let limit = usize::from(self.limit);
        if let Ok(bytes) = message.to_vec()
            && bytes.len() <= limit
        {
            return (bytes, false);
        }
        // What goes beside the answer is the first to go.
        message.additionals.clear();
        match message.to_vec() {
            Ok(bytes) if bytes.len() <= limit => (bytes, false),
            _ => (message.truncate().to_vec().unwrap_or_else(|_| self.failed()), true),
        }
    }

    fn failed(&self) -> Vec<u8> {
        bare(self.id.to_be_bytes(), 0, ResponseCode::ServFail)
    }

    /// Those who take the first of many addresses come to different ones. The request's id is as good as a random number.
    fn turn(&self, answers: &mut [Record]) {
        let alike = answers.windows(2).all(|pair| match pair {
            [a, b] => a.record_type() == b.record_type() && a.name == b.name,
            _ => true,
        });
        if alike && !answers.is_empty() {
            let by = usize::from(self.id) % answers.len();
            answers.rotate_left(by);
        }
    }
}

/// A header alone.
fn bare(id: [u8; 2], flags: u8, code: ResponseCode) -> Vec<u8> {
    let mut bytes = vec![id[0], id[1], 0x80 | (flags & 0x79), code.low()];
    bytes.resize(HEADER, 0);
    bytes
}

/// A question for another server.
///
/// # Errors
/// If the name cannot be written, which no name that was read is.
pub fn ask(id: u16, question: &Question) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries.push(Query::query(question.name.clone(), question.kind));
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_UDP);
    message.set_edns(edns);
    message.to_vec().ok()
}

/// Another server's answer to [`ask`]. None if it is an answer to anything else, or to nothing.
pub fn heard(packet: &[u8], id: u16, question: &Question) -> Option<Message> {
    let questions = packet.get(4..6)?;
    let is_response = packet.get(2)? & 0xf8 == 0x80;
    if packet.get(..2)? != id.to_be_bytes() || !is_response || questions != [0, 1] {
        return None;
    }
    let message = Message::from_vec(packet).ok()?;
    let asked = message.queries.first()?;
    let same = asked.name == question.name && asked.query_type == question.kind && asked.query_class == DNSClass::IN;
    same.then_some(message)
}
