//! Scores by what is free on a node: least and most allocated, requested to capacity, balance.
use super::BEST;
use crate::{
    config::{Config, Kind, MOST_BALANCED, Point, Resource},
    mirror::{Demand, Room},
    names::Names,
};

/// A resource that counts, and how much.
#[derive(Clone, Debug)]
struct Weighed {
    what: What,
    weight: i64,
}

#[derive(Clone, Debug)]
enum What {
    Cpu,
    Memory,
    Storage,
    Extended(String),
}

/// How the config scores room.
#[derive(Clone, Debug)]
pub struct Scores {
    kind: Kind,
    resources: Vec<Weighed>,
    balanced: Vec<Weighed>,
    /// Utilization in percent, score to 100.
    shape: Vec<Point>,
}

impl Scores {
    pub fn new(config: &Config) -> Self {
        let weighed = |resource: &Resource| Weighed {
            what: match &*resource.name {
                "cpu" => What::Cpu,
                "memory" => What::Memory,
                "ephemeral-storage" => What::Storage,
                other => What::Extended(other.to_owned()),
            },
            weight: resource.weight,
        };
        let all = |resources: &[Resource]| resources.iter().map(weighed).collect();
        let scaled = |point: &Point| Point {
            score: point.score * 10,
            ..*point
        };
        Scores {
            kind: config.scoring_strategy.kind,
            resources: all(&config.scoring_strategy.resources),
            balanced: all(&config.balanced_resources.0),
            shape: config.scoring_strategy.shape.iter().map(scaled).collect(),
        }
    }

    /// How well the pod would use the node.
    pub fn fit(&self, demand: &Demand, room: &Room, names: &Names) -> i64 {
        let (mut sum, mut weights) = (0, 0);
        for weighed in &self.resources {
            let (asked, used, all) = match weighed.what {
                What::Cpu => (demand.scored_cpu, room.scored_cpu, room.allocatable.milli_cpu),
                What::Memory => (demand.scored_memory, room.scored_memory, room.allocatable.memory),
                _ => amounts(&weighed.what, demand, room, names),
            };
            if all == 0 {
                continue;
            }
            let score = self.of_one(used + asked, all);
            if self.kind == Kind::RequestedToCapacityRatio && score <= 0 {
                continue;
            }
            sum += score * weighed.weight;
            weights += weighed.weight;
        }
        match weights {
            0 => 0,
            _ if self.kind == Kind::RequestedToCapacityRatio => (sum as f64 / weights as f64).round() as i64,
            _ => sum / weights,
        }
    }

    fn of_one(&self, requested: u64, all: u64) -> i64 {
        match self.kind {
            Kind::LeastAllocated if requested > all => 0,
            Kind::LeastAllocated => ((all - requested) * 100 / all) as i64,
            Kind::MostAllocated => (requested.min(all) * 100 / all) as i64,
            Kind::RequestedToCapacityRatio => on_shape(&self.shape, (requested.min(all) * 100 / all) as i64),
        }
    }

    /// How evenly resources would be used: 100 without any difference.
    pub fn balance(&self, demand: &Demand, room: &Room, names: &Names) -> i64 {
        let (mut fractions, mut asks) = ([0.0_f64; MOST_BALANCED], false);
        let mut count = 0;
        for weighed in self.balanced.iter().take(fractions.len()) {
            let (asked, used, all) = amounts(&weighed.what, demand, room, names);
            asks |= asked > 0;
            if all > 0 {
                fractions[count] = ((used + asked) as f64 / all as f64).min(1.0);
                count += 1;
            }
        }
        if !asks {
            return 0;
        }
        let fractions = &fractions[..count];
        let deviation = match fractions {
            [one, other] => ((one - other) / 2.0).abs(),
            [] | [_] => 0.0,
            all => {
                let mean = all.iter().sum::<f64>() / all.len() as f64;
                let squares = all.iter().map(|fraction| (fraction - mean) * (fraction - mean));
                (squares.sum::<f64>() / all.len() as f64).sqrt()
            }
        };
        ((1.0 - deviation) * BEST as f64) as i64
    }
}

/// What is asked of a resource, taken of it, and how much there is. One that the pod does not ask for is left out, unless
/// every pod asks for it.
fn amounts(what: &What, demand: &Demand, room: &Room, names: &Names) -> (u64, u64, u64) {
    let (asked, used, all) = (&demand.requests, &room.requested, &room.allocatable);
    match what {
        What::Cpu => (asked.milli_cpu, used.milli_cpu, all.milli_cpu),
        What::Memory => (asked.memory, used.memory, all.memory),
        What::Storage => (asked.ephemeral_storage, used.ephemeral_storage, all.ephemeral_storage),
        What::Extended(name) => {
            let resource = names.symbol(name);
            let asked = demand.extended.iter().find(|amount| amount.name == resource);
            asked.map_or((0, 0, 0), |asked| {
                let (all, used) = room.of_extended(resource);
                (asked.amount, used, all)
            })
        }
    }
}

/// The value of a function given by points, straight between them.
fn on_shape(shape: &[Point], utilization: i64) -> i64 {
    let after = shape.iter().position(|point| utilization <= point.utilization);
    match after {
        Some(0) => shape[0].score,
        Some(place) => {
            let (from, to) = (shape[place - 1], shape[place]);
            from.score
                + (to.score - from.score) * (utilization - from.utilization) / (to.utilization - from.utilization)
        }
        None => shape.last().map_or(0, |point| point.score),
    }
}
