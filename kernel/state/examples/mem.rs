//! scratch
#![allow(unsafe_code)]
use sampan_api::*;
use sampan_state::*;
use std::time::Instant;
fn rss() -> u64 {
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    s.lines()
        .find(|l| l.starts_with("VmRSS"))
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}
#[allow(unsafe_code)]
static mut T: [u64; 3] = [0; 3];
fn main() {
    let n: u64 = std::env::args().nth(1).map_or(1_000_000, |a| a.parse().unwrap());
    let mut store = Store::new("x");
    let kind = kinds::of_resource("configmaps").unwrap();
    let ns = kinds::of_resource("namespaces").unwrap();
    let base = rss();
    let mut index = 0;
    let mut run = |store: &mut Store, writes: Vec<Write>| {
        index += 1;
        let c = Command {
            now_ms: 1_700_000_000_000,
            plans: writes.into_iter().map(Plan::from).collect(),
            ..Default::default()
        };
        let t0 = Instant::now();
        let e = c.encode();
        let t1 = Instant::now();
        let c = Command::decode(e).unwrap();
        let t2 = Instant::now();
        let a = store.apply(index, &c);
        unsafe {
            T[0] += (t1 - t0).as_nanos() as u64;
            T[1] += (t2 - t1).as_nanos() as u64;
            T[2] += t2.elapsed().as_nanos() as u64;
        }
        assert!(a.results.iter().all(|r| r.is_ok()), "{:?}", a.results[0]);
    };
    run(
        &mut store,
        vec![Write::new(
            Key::new("namespaces", "", "default"),
            Operation::Create(Object::new(ns, "", "default")),
        )],
    );
    let value = "x".repeat(1000);
    let t = Instant::now();
    for chunk in 0..n / 500 {
        let w = (0..500)
            .map(|i| {
                let name = format!("object-{:08}", chunk * 500 + i);
                Write::new(
                    Key::new("configmaps", "default", &name),
                    Operation::Create(
                        Object::new(kind, "default", &name).with_field("data", &serde_json::json!({"value": value})),
                    ),
                )
            })
            .collect();
        run(&mut store, w);
    }
    println!(
        "fill {:?} ({:.2} us each), rss {} per object {}",
        t.elapsed(),
        t.elapsed().as_secs_f64() * 1e6 / n as f64,
        (rss() - base) >> 20,
        (rss() - base) / n
    );
    unsafe {
        let t = T;
        println!("encode {} decode {} apply {} ns", t[0] / n, t[1] / n, t[2] / n);
    }
    let header = Header {
        cluster: "x".into(),
        index: store.applied(),
        revision: store.snapshot().revision(),
        ..Default::default()
    };
    let t = Instant::now();
    let path = std::env::args().nth(2).unwrap_or("/tmp/mem.ckp".into());
    {
        use std::io::Write;
        let mut f = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(&path).unwrap());
        for p in encode_checkpoint(&header, &store) {
            f.write_all(&p).unwrap();
        }
        f.flush().unwrap();
    }
    println!(
        "encode {:?} bytes {}",
        t.elapsed(),
        std::fs::metadata(&path).unwrap().len()
    );
    let t = Instant::now();
    drop(store);
    println!("drop {:?} rss {}", t.elapsed(), rss() >> 20);
    let t = Instant::now();
    let b = std::fs::read(&path).unwrap();
    println!("read {:?}", t.elapsed());
    let t = Instant::now();
    let (s, _) = decode_checkpoint(&b).unwrap();
    println!("decode {:?}", t.elapsed());
    drop(b);
    println!("rss after {} per object {}", rss() >> 20, rss() / n);
    drop(s);
}
