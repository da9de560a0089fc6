//! Counts the primes below a number: a batch job as a wasi:cli command.

fn main() {
    let limit = match std::env::args().nth(1).as_deref().unwrap_or("1000000").parse::<usize>() {
        Ok(limit) if limit <= 100_000_000 => limit,
        _ => {
            eprintln!("usage: primes LIMIT   (a number up to 100000000)");
            std::process::exit(2);
        }
    };
    let mut composite = vec![false; limit.max(2)];
    let mut count = 0;
    for n in 2..limit {
        if !composite[n] {
            count += 1;
            if let Some(square) = n.checked_mul(n) {
                composite.iter_mut().skip(square).step_by(n).for_each(|c| *c = true);
            }
        }
    }
    println!("{count} primes below {limit}");
}
