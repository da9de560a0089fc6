//! What an idle cluster of one costs: memory and CPU of the process `sampan up`, and the size of the binary.
use crate::figure::{Figure, missing};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The built-in policies are compiled in this time, and what that took of memory is given back.
const SETTLE: Duration = Duration::from_secs(15);
const WATCHED: Duration = Duration::from_secs(30);

const TARGET_MB: f64 = 40.0;
const TARGET_CPU: f64 = 0.3;

/// Ends the cluster whatever happens.
struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

pub fn run() -> Result<Vec<Figure>> {
    let home = tempfile::tempdir()?;
    let sampan = std::env::current_exe()?.with_file_name("sampan");
    ensure!(
        sampan.exists(),
        "{} is missing: `cargo build --release` makes it",
        sampan.display()
    );
    // The second start is the usual one: the first also compiles.
    drop(start(&sampan, home.path())?);
    let up = start(&sampan, home.path())?;
    let pid = up.0.id();
    std::thread::sleep(SETTLE);
    let (before, begun) = (cpu_ticks(pid)?, Instant::now());
    std::thread::sleep(WATCHED);
    let used = (cpu_ticks(pid)? - before) as f64 / rustix::param::clock_ticks_per_second() as f64;
    let mut cpu = Figure::new(
        "footprint",
        "idle cluster of one, CPU",
        used / begun.elapsed().as_secs_f64() * 100.0,
        "% of a core",
    );
    cpu.target = Some(TARGET_CPU);
    let mut pss = Figure::new("footprint", "idle cluster of one, PSS", megabytes(pid, "Pss:")?, "MB");
    pss.target = Some(TARGET_MB);
    pss.peer = missing("k3s");
    let private = Figure::new(
        "footprint",
        "of which private and dirty",
        megabytes(pid, "Private_Dirty:")?,
        "MB",
    );
    let size = fs::metadata(&sampan)?.len() as f64 / 1e6;
    let binary = Figure::new("footprint", "binary", size, "MB");
    Ok(vec![pss, private, cpu, binary])
}

/// Starts a cluster and waits until it says that it is ready.
fn start(sampan: &std::path::Path, home: &std::path::Path) -> Result<Up> {
    let mut child = Command::new(sampan)
        .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(home.join("data"))
        .env("HOME", home)
        .env("SAMPAN_CONFIG", home.join("config"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = child.stdout.take().context("no output")?;
    let up = Up(child);
    let mut lines = BufReader::new(output);
    let mut line = String::new();
    ensure!(lines.read_line(&mut line)? > 0, "`sampan up` ended before it was ready");
    // Nobody reads on: the pipe takes the few lines there are.
    std::mem::forget(lines);
    Ok(up)
}

/// User and system time, in clock ticks (proc_pid_stat(5), fields 14 and 15).
fn cpu_ticks(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("an odd /proc/PID/stat")?;
    let ticks = |nth: usize| -> Result<u64> { Ok(fields.split_whitespace().nth(nth).context("too short")?.parse()?) };
    Ok(ticks(11)? + ticks(12)?)
}

fn megabytes(pid: u32, field: &str) -> Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find(|line| line.starts_with(field));
    let kilobytes: f64 = line
        .and_then(|line| line.split_whitespace().nth(1))
        .context("no such field in smaps_rollup")?
        .parse()?;
    Ok(kilobytes * 1024.0 / 1e6)
}
