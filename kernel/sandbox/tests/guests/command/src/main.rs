//! A command that does what its first argument says.
use std::io::{Read, Write};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map_or("", String::as_str) {
        "show" => {
            println!("args {:?}", &args[2..]);
            std::env::vars().for_each(|(name, value)| println!("env {name}={value}"));
            eprintln!("this is stderr");
        }
        "exit" => std::process::exit(args[2].parse().unwrap_or(99)),
        "trap" => panic!("as it was told"),
        "loop" => {
            let mut n = 0_u64;
            loop {
                n = std::hint::black_box(n + 1);
            }
        }
        "sleep" => std::thread::sleep(std::time::Duration::from_secs(3600)),
        "memory" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        "read" => print!(
            "{}",
            std::fs::read_to_string(&args[2]).unwrap_or_else(|error| format!("no: {error}"))
        ),
        "write" => match std::fs::write(&args[2], "written") {
            Ok(()) => println!("yes"),
            Err(error) => println!("no: {error}"),
        },
        "get" => println!("{}", get(&args[2]).unwrap_or_else(|error| format!("no: {error}"))),
        _ => (),
    }
}

/// A request over a plain socket.
fn get(address: &str) -> std::io::Result<String> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(b"GET /hello HTTP/1.0\r\nhost: x\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
