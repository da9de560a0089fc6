//! Names that others know.
use crate::support::*;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        RData, Record,
        RecordType::{A, AAAA},
        rdata,
    },
};
use tokio::net::TcpStream;

#[tokio::test]
async fn asked_once_and_kept() {
    let upstream = Server::new(|request, _| vec![address(request, 1)]).await;
    let dns = dns(&[upstream.address]);
    let server = dns.addresses()[0];
    let first = by_udp(server, "example.org.", A).await;
    assert_eq!(
        (data(&first), first.metadata.authoritative),
        (vec!["192.0.2.1".to_owned()], false)
    );
    assert_eq!(data(&by_udp(server, "EXAMPLE.org.", A).await), ["192.0.2.1"]);
    let mut stream = TcpStream::connect(server).await.unwrap();
    assert_eq!(data(&by_tcp(&mut stream, "example.org.", A).await), ["192.0.2.1"]);
    assert_eq!((upstream.asked(), figure(&dns, "sampan_dns_cache_hits_total")), (1, 2));
    // The cluster's names are asked of nobody, backwards neither.
    by_udp(server, "none.cluster.local.", A).await;
    by_udp(server, "1.0.42.10.in-addr.arpa.", A).await;
    assert_eq!(upstream.asked(), 1);
    by_udp(server, "1.2.0.192.in-addr.arpa.", A).await;
    assert_eq!(upstream.asked(), 2);
}

#[tokio::test]
async fn that_there_is_nothing_is_kept_if_it_is_said_for_how_long() {
    let upstream = Server::new(|request, _| {
        let mut answer = plain(request, ResponseCode::NXDomain);
        if request.queries[0].name == name("said.example.") {
            let soa = rdata::SOA::new(name("a."), name("b."), 1, 1, 1, 1, 60);
            answer
                .authorities
                .push(Record::from_rdata(name("example."), 60, RData::SOA(soa)));
        }
        vec![answer]
    })
    .await;
    let dns = dns(&[upstream.address]);
    for of in ["said.example.", "said.example.", "unsaid.example.", "unsaid.example."] {
        let answer = by_udp(dns.addresses()[0], of, A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    }
    assert_eq!(upstream.asked(), 3);
}

#[tokio::test]
async fn equal_questions_are_one() {
    // The first request is not answered; by the time of the next try all have come.
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let upstream = Server::new(
        move |request, _| match tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => vec![],
            _ => vec![address(request, 1)],
        },
    )
    .await;
    let dns = dns(&[upstream.address]);
    let server = dns.addresses()[0];
    let all = (0..20).map(|_| by_udp(server, "example.org.", A));
    for answer in futures::future::join_all(all).await {
        assert_eq!(data(&answer), ["192.0.2.1"]);
    }
    assert_eq!(upstream.asked(), 2);
    let waited = figure(&dns, "sampan_dns_joined_total") + figure(&dns, "sampan_dns_cache_hits_total");
    assert_eq!(waited, 19);
}

#[tokio::test]
async fn another_server_helps_out() {
    let silent = Server::new(|_, _| vec![]).await;
    let broken = Server::new(|request, _| vec![plain(request, ResponseCode::Refused)]).await;
    let good = Server::new(|request, _| vec![address(request, 1)]).await;
    let dns = dns(&[silent.address, broken.address, good.address]);
    let server = dns.addresses()[0];
    assert_eq!(data(&by_udp(server, "one.example.", A).await), ["192.0.2.1"]);
    // Who answered is asked first from then on.
    assert_eq!(data(&by_udp(server, "two.example.", A).await), ["192.0.2.1"]);
    assert_eq!((silent.asked(), broken.asked(), good.asked()), (1, 1, 2));
    assert_eq!(figure(&dns, "sampan_dns_upstream_failures_total"), 2);
}

#[tokio::test]
async fn what_all_refuse_is_refused() {
    let broken = Server::new(|request, _| vec![plain(request, ResponseCode::Refused)]).await;
    let dns = dns(&[broken.address]);
    let answer = by_udp(dns.addresses()[0], "one.example.", A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
}

#[tokio::test]
async fn what_was_cut_is_fetched_by_tcp() {
    let upstream = Server::new(|request, tcp| {
        let mut answer = plain(request, ResponseCode::NoError);
        if tcp {
            answer.answers = (0..200).map(|last| a(&request.queries[0].name, last)).collect();
        } else {
            answer.metadata.truncation = true;
        }
        vec![answer]
    })
    .await;
    let dns = dns(&[upstream.address]);
    let server = dns.addresses()[0];
    assert!(by_udp(server, "example.org.", A).await.metadata.truncation);
    let mut stream = TcpStream::connect(server).await.unwrap();
    assert_eq!(by_tcp(&mut stream, "example.org.", A).await.answers.len(), 200);
    assert_eq!(upstream.asked(), 2);
}

/// An answer with a wrong number, one to another question, one to nothing, and what is no answer.
fn lies(request: &Message) -> Vec<Message> {
    let mut number = address(request, 66);
    number.metadata.id = request.metadata.id.wrapping_add(1);
    let mut of_other = address(request, 66);
    of_other.queries[0].name = name("other.example.");
    let mut of_type = address(request, 66);
    of_type.queries[0].query_type = AAAA;
    let mut of_nothing = address(request, 66);
    of_nothing.queries.clear();
    let mut request = request.clone();
    request.answers.push(a(&name("example.org."), 66));
    vec![number, of_other, of_type, of_nothing, request]
}

#[tokio::test]
async fn lies_are_not_believed() {
    let upstream = Server::new(|request, _| {
        let mut all = lies(request);
        all.push(address(request, 1));
        all
    })
    .await;
    let dns = dns(&[upstream.address]);
    let server = dns.addresses()[0];
    assert_eq!(data(&by_udp(server, "example.org.", A).await), ["192.0.2.1"]);
    assert_eq!((upstream.asked(), figure(&dns, "sampan_dns_unbelieved_total")), (1, 5));
    let liar = Server::new(|request, _| lies(request)).await;
    let dns = crate::support::dns(&[liar.address]);
    let answer = by_udp(dns.addresses()[0], "example.org.", A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(figure(&dns, "sampan_dns_unanswered_total"), 1);
}

#[tokio::test]
async fn of_an_answer_only_what_was_asked_for() {
    let upstream = Server::new(|request, _| {
        let mut answer = plain(request, ResponseCode::NoError);
        let alias = RData::CNAME(rdata::CNAME(name("target.example.")));
        answer.answers = vec![
            a(&name("bank.example."), 66),
            a(&name("target.example."), 2),
            Record::from_rdata(request.queries[0].name.clone(), 300, alias),
            a(&request.queries[0].name, 66),
        ];
        answer.additionals = vec![a(&name("bank.example."), 66)];
        answer.authorities = vec![a(&name("bank.example."), 66)];
        vec![answer]
    })
    .await;
    let dns = dns(&[upstream.address]);
    let answer = by_udp(dns.addresses()[0], "example.org.", A).await;
    assert_eq!(data(&answer), ["target.example.", "192.0.2.2"]);
    assert!(answer.additionals.is_empty() && answer.authorities.is_empty());
}

#[tokio::test]
async fn services_that_are_names_of_others() {
    let upstream = Server::new(|request, _| {
        assert_eq!(request.queries[0].name, name("far.example.org."));
        vec![address(request, 9)]
    })
    .await;
    let dns = dns(&[upstream.address]);
    for _ in 0..2 {
        let answer = by_udp(dns.addresses()[0], "away.prod.svc.cluster.local.", A).await;
        assert_eq!(data(&answer), ["far.example.org.", "192.0.2.9"]);
    }
    assert_eq!(upstream.asked(), 1);
}
