//! What changes cost, beside many Services. Not a test: `cargo test -p sampan-node --test datapath -- --ignored figures`.
use crate::{or_skip, stage::*, wanted::*};
use sampan_sandbox::network::{Frontend, Op, Protocol};
use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

fn service(number: u32, backends: u32, shift: u32) -> Frontend {
    let address = Ipv4Addr::from_bits(0x0A60_0000 + 16 + number);
    let backend = |n: u32| IpAddr::from(Ipv4Addr::from_bits(0x0A2A_0000 + (number * 7 + n * 3 + shift) % 65_000));
    let backends: Vec<IpAddr> = (0..backends).map(backend).collect();
    at(&address.to_string(), Protocol::Tcp, pool(&backends))
}

#[test]
#[ignore = "prints figures"]
fn figures() {
    or_skip!();
    for count in [100, 1000, 10_000] {
        let mut lab = Lab::of(1);
        let wanted = entries((0..count).map(|number| service(number, 3, 0)));
        let pods = lab.links();
        let begun = Instant::now();
        let done = lab.act(|datapath| datapath.replace_with(&wanted, &pods)).unwrap();
        println!(
            "{count} services of 3 endpoints: whole {} bytes in {:?}",
            done.bytes,
            begun.elapsed()
        );
        for (what, of) in [
            (
                "one endpoint another",
                &(|n| service(n, 3, 1 + n)) as &dyn Fn(u32) -> Frontend,
            ),
            ("one endpoint more", &|n| service(n, 4, 0)),
            ("one service more", &|n| service(count + n, 3, 0)),
        ] {
            // By the same thread, as starting one costs more than a change.
            let changes: Vec<Vec<Op>> = (0..50)
                .map(|n| entries([of(n)]).into_iter().map(Op::Set).collect())
                .collect();
            let (bytes, mut took) = lab.act(|datapath| {
                let timed = |ops: &Vec<Op>| {
                    let begun = Instant::now();
                    let done = datapath.change(ops).unwrap();
                    (done.bytes, begun.elapsed())
                };
                let all: Vec<(usize, Duration)> = changes.iter().map(timed).collect();
                (all[10].0, all.into_iter().map(|(_, took)| took).collect::<Vec<_>>())
            });
            took.sort_unstable();
            println!("  {what}: {bytes} bytes, median {:?}, longest {:?}", took[25], took[49]);
        }
        let look = |lab: &mut Lab| {
            lab.act(|datapath| {
                let begun = Instant::now();
                assert!(datapath.is_intact().unwrap());
                begun.elapsed()
            })
        };
        println!("  whether it is intact: {:?}", look(&mut lab));
        if lab.node.nft(&["add", "table", "inet", "elsewhere"]).is_some() {
            println!("  after others changed something elsewhere: {:?}", look(&mut lab));
        }
    }
}
