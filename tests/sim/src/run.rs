//! One run, from its seed to its verdict.
use crate::{
    failure::Failure,
    fault::Fault,
    history::{Cells, Verdict, check},
    profile::Profile,
    random::Random,
    world::World,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Events of a run before it is let come to its end, unless told otherwise.
pub const STEPS: u64 = 20_000;

/// How a run is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub seed: u64,
    pub steps: u64,
    pub fault: Fault,
    /// Whether what happens is printed.
    pub trace: bool,
}

impl Options {
    pub fn seed(seed: u64) -> Self {
        Options {
            seed,
            steps: STEPS,
            fault: Fault::None,
            trace: false,
        }
    }
}

/// What a run that held was like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Equal for equal runs.
    pub trace: u64,
    /// Simulated, in microseconds.
    pub time: u64,
    pub entries: u64,
    pub revision: u64,
    /// Commits that were answered, and operations whose order was checked.
    pub commits: u64,
    pub operations: u64,
    pub crashes: u64,
    pub snapshots: u64,
    /// Of these, in the middle of a change of members.
    pub joint_snapshots: u64,
    /// Watches that went on at another replica, and those that had to list again.
    pub resumed: u64,
    pub expired: u64,
    /// Changes of members.
    pub changes: u64,
    /// Histories that had too many orders to try.
    pub undecided: u64,
}

impl Summary {
    /// What several runs were like together.
    #[must_use]
    pub fn plus(self, other: &Summary) -> Summary {
        Summary {
            trace: self.trace ^ other.trace,
            time: self.time + other.time,
            entries: self.entries + other.entries,
            revision: self.revision + other.revision,
            commits: self.commits + other.commits,
            operations: self.operations + other.operations,
            crashes: self.crashes + other.crashes,
            snapshots: self.snapshots + other.snapshots,
            joint_snapshots: self.joint_snapshots + other.joint_snapshots,
            resumed: self.resumed + other.resumed,
            expired: self.expired + other.expired,
            changes: self.changes + other.changes,
            undecided: self.undecided + other.undecided,
        }
    }
}

/// The command that makes the same run.
pub fn command(options: &Options) -> String {
    let mut text = format!("cargo run -p sim -- --seed {} --steps {}", options.seed, options.steps);
    if options.fault != Fault::None {
        text.push_str(&format!(" --fault {}", options.fault.name()));
    }
    text
}

/// Makes a run.
///
/// # Errors
/// What did not hold, with the command that shows it again.
pub fn run(options: &Options) -> Result<Summary, Failure> {
    let result = catch_unwind(AssertUnwindSafe(|| simulate(options)));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Failure::new(format!("it panicked: {}", text.unwrap_or_default())))
    });
    result.map_err(|Failure(why)| Failure::new(format!("{why}\nreproduce: {}", command(options))))
}

fn simulate(options: &Options) -> Result<Summary, Failure> {
    let mut random = Random::new(options.seed);
    let profile = Profile::draw(&mut random, options.fault);
    if options.trace {
        println!("{profile:#?}");
    }
    let mut world = World::new(random.number(), profile, options.trace)?;
    for _ in 0..options.steps {
        world.step()?;
    }
    world.recover()?;
    let undecided = match check(&Cells, &world.book.history) {
        Verdict::Linearizable => 0,
        Verdict::Undecided => 1,
        Verdict::Violated(why) => return Err(Failure::new(format!("what clients saw has no order: {why}"))),
    };
    Ok(Summary {
        trace: world.trace.hash(),
        time: world.now,
        entries: world.oracle.store().applied(),
        revision: world.oracle.revision(),
        commits: world.book.commits,
        operations: world.book.history.len() as u64,
        crashes: world.crashes,
        snapshots: world.snapshots,
        joint_snapshots: world.joint_snapshots,
        resumed: world.watchers.iter().map(|watcher| watcher.resumed).sum(),
        expired: world.watchers.iter().map(|watcher| watcher.expired).sum(),
        changes: world.oracle.changes,
        undecided,
    })
}
