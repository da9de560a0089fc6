//! What kind of run a seed makes: how large, how rough, and which mistakes are on.
use crate::{ask::Freshness, fault::Fault, network::Weather, random::Random};

/// The kind of a run.
#[derive(Clone, Debug)]
pub struct Profile {
    pub members: u64,
    pub writers: usize,
    pub schedulers: usize,
    pub operators: usize,
    pub watchers: usize,
    pub weather: Weather,
    /// How long a write or a sync takes, in microseconds.
    pub disk: (u64, u64),
    /// Crashes at a step of a driver, in hundred thousandths.
    pub crashes: u64,
    /// Microseconds between two events of the chaos, about.
    pub chaos: u64,
    pub partitions: bool,
    pub membership: bool,
    pub transfers: bool,
    /// Microseconds a client rests.
    pub rest: u64,
    pub kept_bytes: usize,
    pub held_bytes: usize,
    /// Bytes of the log after which a checkpoint is written.
    pub checkpoint_after: usize,
    pub freshness: Vec<Freshness>,
    pub fault: Fault,
}

impl Profile {
    /// What the seed says.
    pub fn draw(random: &mut Random, fault: Fault) -> Self {
        let rough = random.below(3);
        let weather = match rough {
            0 => Weather::CALM,
            1 => Weather {
                loss: random.below(30),
                duplicates: random.below(30),
                delay: (100, random.between(2_000, 20_000)),
                late: random.below(20),
            },
            _ => Weather {
                loss: random.below(150),
                duplicates: random.below(100),
                delay: (100, random.between(5_000, 60_000)),
                late: random.below(60),
            },
        };
        let freshness = match random.below(4) {
            0 => vec![Freshness::Barrier],
            1 => vec![Freshness::ReadIndex],
            _ => vec![Freshness::Barrier, Freshness::ReadIndex],
        };
        let members = *random.one_of(&[1, 3, 3, 3, 5]).unwrap_or(&3);
        let drawn = Profile {
            members,
            writers: usize::try_from(random.between(2, 4)).unwrap_or(2),
            schedulers: 2,
            operators: 2,
            watchers: 2,
            weather,
            disk: (50, *random.one_of(&[300, 2_000, 10_000]).unwrap_or(&300)),
            crashes: *random.one_of(&[0, 20, 60, 150]).unwrap_or(&0),
            chaos: *random.one_of(&[300_000, 800_000, 2_000_000]).unwrap_or(&800_000),
            partitions: random.chance(2, 3),
            membership: random.chance(1, 2),
            transfers: random.chance(1, 2),
            rest: *random.one_of(&[2_000, 20_000, 60_000]).unwrap_or(&20_000),
            kept_bytes: *random.one_of(&[0, 1 << 10, 8 << 10, 4 << 20]).unwrap_or(&0),
            held_bytes: *random.one_of(&[2 << 10, 64 << 10, 4 << 20]).unwrap_or(&0),
            checkpoint_after: usize::try_from(random.between(4, 40)).unwrap_or(4) << 10,
            freshness,
            fault,
        };
        drawn.rougher()
    }

    /// Some mistakes only show when much else goes wrong: a vote that is forgotten must be asked for again at once.
    fn rougher(mut self) -> Self {
        match self.fault {
            Fault::ForgetVote => {
                self.members = 3;
                self.crashes = 1500;
                self.weather.delay = (100, 60_000);
                self.weather.late = 60;
            }
            Fault::SilentSnapshots => {
                self.membership = true;
                self.weather.loss = 150;
                (self.kept_bytes, self.held_bytes) = (0, 0);
                self.checkpoint_after = 4 << 10;
            }
            _ => {}
        }
        self
    }
}
