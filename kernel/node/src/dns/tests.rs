//! Whatever comes in a packet, and what is answered to it, without sockets.
use super::{
    figures::Figures,
    forward::{Forwarder, Resolved},
    message::{self, MAX_REQUEST, Question, Way},
    respond::{Responder, Step},
    *,
};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType, rdata},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

fn responder() -> Responder {
    let settings = ZoneSettings {
        domain: "cluster.local".into(),
        ranges: vec!["10.96.0.0/12".parse().unwrap()],
        servers: vec![],
    };
    let mut zone = Zone::new(settings).unwrap();
    for (name, spec) in [
        ("web", json!({"clusterIP": "10.96.0.10"})),
        ("big", json!({"clusterIP": "None"})),
        (
            "a",
            json!({"type": "ExternalName", "externalName": "b.prod.svc.cluster.local"}),
        ),
        (
            "b",
            json!({"type": "ExternalName", "externalName": "a.prod.svc.cluster.local"}),
        ),
        (
            "to-web",
            json!({"type": "ExternalName", "externalName": "web.prod.svc.cluster.local"}),
        ),
    ] {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "prod"},
            "spec": spec});
        zone.changed(&Object::from_value(&service).unwrap()).unwrap();
    }
    zone.changed(&slice_of_big(1, 200)).unwrap();
    let figures = Arc::new(Figures::default());
    let forwarder = Forwarder::new(Upstream::These(vec![]), vec![], figures.clone());
    Responder {
        zone: RwLock::new(zone),
        forwarder: Arc::new(forwarder),
        figures,
    }
}

fn slice_of_big(number: u8, many: u32) -> Object {
    let address = |at: u32| format!("10.{}.{}.{}", 42 + number, at / 256, at % 256);
    let endpoints: Vec<_> = (0..many).map(|at| json!({"addresses": [address(at)]})).collect();
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("big-{number}"), "namespace": "prod",
            "labels": {"kubernetes.io/service-name": "big"}},
        "endpoints": endpoints, "ports": [{"name": "http", "port": 80}]});
    Object::from_value(&slice).unwrap()
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message
        .queries
        .push(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn with_size(mut message: Message, size: u16) -> Message {
    message.set_edns({
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        edns
    });
    message
}

fn sent(responder: &Responder, packet: &[u8], way: Way) -> Option<Vec<u8>> {
    match responder.at_once(packet, way) {
        Step::Nothing => None,
        Step::Send(bytes) => Some(bytes),
        Step::Ask(..) => panic!("others are to be asked"),
    }
}

fn answer(packet: &[u8], way: Way) -> Option<(usize, Message)> {
    let bytes = sent(&responder(), packet, way)?;
    Some((bytes.len(), Message::from_vec(&bytes).unwrap()))
}

fn code(packet: &[u8]) -> Option<ResponseCode> {
    answer(packet, Way::Udp).map(|(_, message)| message.metadata.response_code)
}

#[test]
fn an_answer_is_one_to_its_question() {
    let asked = query("Web.prod.svc.cluster.local.", RecordType::A);
    let (_, message) = answer(&asked.to_vec().unwrap(), Way::Udp).unwrap();
    let metadata = message.metadata;
    assert_eq!((metadata.id, metadata.message_type), (4711, MessageType::Response));
    assert!(metadata.authoritative && metadata.recursion_available && metadata.recursion_desired);
    assert!(message.queries[0].name.eq_case(&asked.queries[0].name) && message.edns.is_none());
    assert_eq!(message.answers[0].data.to_string(), "10.96.0.10");
    let none = query("none.prod.svc.cluster.local.", RecordType::A).to_vec().unwrap();
    let (_, message) = answer(&none, Way::Udp).unwrap();
    assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!((message.authorities.len(), message.authorities[0].ttl), (1, zone::TTL));
}

#[test]
fn aliases_within_the_cluster_are_followed() {
    let ask = |name: &str, kind| answer(&query(name, kind).to_vec().unwrap(), Way::Udp).unwrap().1;
    let followed = ask("to-web.prod.svc.cluster.local.", RecordType::A);
    let data: Vec<String> = followed.answers.iter().map(|record| record.data.to_string()).collect();
    assert_eq!(data, ["web.prod.svc.cluster.local.", "10.96.0.10"]);
    assert_eq!(
        ask("to-web.prod.svc.cluster.local.", RecordType::CNAME).answers.len(),
        1
    );
    let circle = ask("a.prod.svc.cluster.local.", RecordType::A);
    assert_eq!(circle.metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn what_is_no_request() {
    let good = query("web.prod.svc.cluster.local.", RecordType::A).to_vec().unwrap();
    let with = |at: usize, byte: u8| {
        let mut packet = good.clone();
        packet[at] = byte;
        packet
    };
    assert_eq!(code(&good), Some(ResponseCode::NoError));
    assert_eq!(code(&[]), None);
    assert_eq!(code(&good[..11]), None);
    assert_eq!(code(&with(2, 0x81)), None, "an answer is not answered");
    assert_eq!(code(&with(2, 0x29)), Some(ResponseCode::NotImp), "an update");
    for at in [4, 5, 6, 7, 8, 9, 10, 11] {
        assert_eq!(code(&with(at, 0xff)), Some(ResponseCode::FormErr), "count at {at}");
    }
    assert_eq!(code(&with(5, 0)), Some(ResponseCode::FormErr), "no question");
    assert_eq!(
        code(&with(12, 63)),
        Some(ResponseCode::FormErr),
        "a label beyond the end"
    );
    let mut large = good.clone();
    large.resize(MAX_REQUEST + 1, 0);
    assert_eq!(code(&large), Some(ResponseCode::FormErr));
    let mut chaos = query("version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&chaos.to_vec().unwrap()), Some(ResponseCode::Refused));
    let transfer = query("cluster.local.", RecordType::AXFR).to_vec().unwrap();
    assert_eq!(code(&transfer), Some(ResponseCode::Refused));
    let mut newer = with_size(query("web.prod.svc.cluster.local.", RecordType::A), 1232);
    newer.edns.as_mut().unwrap().set_version(1);
    // Sixteen is BADSIG where there are signatures.
    assert_eq!(code(&newer.to_vec().unwrap()).map(u16::from), Some(16));
}

#[test]
fn answers_fit_or_say_so() {
    let plain = query("big.prod.svc.cluster.local.", RecordType::A);
    for (message, limit) in [(plain.clone(), 512), (with_size(plain.clone(), 65535), 1232)] {
        let (length, answer) = answer(&message.to_vec().unwrap(), Way::Udp).unwrap();
        assert!(answer.metadata.truncation && length <= limit && answer.answers.is_empty());
        assert_eq!(answer.edns.is_some(), message.edns.is_some());
    }
    let (_, whole) = answer(&plain.to_vec().unwrap(), Way::Tcp).unwrap();
    assert!(!whole.metadata.truncation && whole.answers.len() == 200);
    // More than a message holds at all: as many as go in.
    let responder = responder();
    responder.zone.write().changed(&slice_of_big(2, 8000)).unwrap();
    for kind in [RecordType::A, RecordType::SRV] {
        let asked = with_size(query("big.prod.svc.cluster.local.", kind), 1232)
            .to_vec()
            .unwrap();
        let most = Message::from_vec(&sent(&responder, &asked, Way::Tcp).unwrap()).unwrap();
        assert!(
            most.answers.len() > 500 && most.metadata.truncation,
            "{}",
            most.answers.len()
        );
    }
    let small = with_size(query("web.prod.svc.cluster.local.", RecordType::A), 1);
    assert!(
        !answer(&small.to_vec().unwrap(), Way::Udp)
            .unwrap()
            .1
            .metadata
            .truncation
    );
}

#[test]
fn the_first_address_is_not_always_the_same() {
    let responder = responder();
    let first = |id: u16| {
        let mut asked = query("big.prod.svc.cluster.local.", RecordType::A);
        asked.metadata.id = id;
        let bytes = sent(&responder, &asked.to_vec().unwrap(), Way::Tcp).unwrap();
        Message::from_vec(&bytes).unwrap().answers[0].data.to_string()
    };
    assert_ne!(first(1), first(2));
}

/// Random bytes, and requests that were cut or changed somewhere: all are answered with something that can be read, or with
/// nothing.
#[test]
fn no_packet_does_harm() {
    let responder = responder();
    let names = [
        "web.prod.svc.cluster.local.",
        "_a._tcp.big.prod.svc.cluster.local.",
        "1.0.96.10.in-addr.arpa.",
    ];
    let kinds = [
        RecordType::A,
        RecordType::SRV,
        RecordType::PTR,
        RecordType::ANY,
        RecordType::OPT,
    ];
    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..20_000 {
        let mut packet = match round % 3 {
            0 => (0..random.random_range(0..200)).map(|_| random.random()).collect(),
            _ => {
                let name = names[random.random_range(0..names.len())];
                let message = query(name, kinds[random.random_range(0..kinds.len())]);
                with_size(message, random.random()).to_vec().unwrap()
            }
        };
        match round % 3 {
            1 => packet.truncate(random.random_range(0..=packet.len())),
            _ => {
                for _ in 0..random.random_range(1..4) {
                    if !packet.is_empty() {
                        let at = random.random_range(0..packet.len());
                        packet[at] = random.random();
                    }
                }
            }
        }
        for way in [Way::Udp, Way::Tcp] {
            if let Step::Send(bytes) = responder.at_once(&packet, way) {
                let read = Message::from_vec(&bytes);
                assert!(read.is_ok(), "seed {seed}: {packet:?} is answered with {bytes:?}");
                assert!(way == Way::Tcp || bytes.len() <= 1232, "seed {seed}: {packet:?}");
            }
        }
    }
}

/// Answers of other servers that were cut or changed somewhere: what is taken of them belongs to the question.
#[test]
fn no_answer_of_others_does_harm() {
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let question = Question {
        name: name("www.example.org."),
        kind: RecordType::A,
    };
    let mut good = Message::response(4711, OpCode::Query);
    good.queries.push(Query::query(question.name.clone(), question.kind));
    let alias = |of: &str, to: &str| Record::from_rdata(name(of), 60, RData::CNAME(rdata::CNAME(name(to))));
    good.answers = vec![
        alias("www.example.org.", "a.example.org."),
        alias("a.example.org.", "b.example.org."),
        Record::from_rdata(name("b.example.org."), 60, RData::A(rdata::A::new(192, 0, 2, 1))),
    ];
    let soa = rdata::SOA::new(name("a."), name("b."), 1, 1, 1, 1, 60);
    good.authorities = vec![Record::from_rdata(name("example.org."), 60, RData::SOA(soa))];
    let good = with_size(good, 1232).to_vec().unwrap();
    let whole = Resolved::of(message::heard(&good, 4711, &question).unwrap(), &question);
    assert_eq!((whole.answers.len(), whole.authorities.len()), (3, 1));

    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let mut read = 0;
    for _ in 0..20_000 {
        let mut packet = good.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(6..packet.len());
            packet[at] = random.random();
        }
        if random.random_ratio(1, 4) {
            packet.truncate(random.random_range(0..=packet.len()));
        }
        let Some(message) = message::heard(&packet, 4711, &question) else {
            continue;
        };
        read += 1;
        let answer = Resolved::of(message, &question);
        let known = |record: &Record| matches!(record.data, RData::A(_) | RData::CNAME(_));
        assert!(answer.answers.iter().all(known), "seed {seed}: {packet:?}");
        assert!(
            answer.answers.is_empty() || answer.answers[0].name == question.name,
            "seed {seed}: {packet:?}"
        );
    }
    assert!(read > 100, "seed {seed}: few were answers at all");
}
