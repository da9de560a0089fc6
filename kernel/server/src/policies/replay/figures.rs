//! Figures of a placement: how full nodes are, how much of what is free is of use, how pods are spread.
use super::world::World;
use std::collections::BTreeMap;

/// How pods lie on nodes. Counted are the nodes that take pods: ready, neither cordoned nor tainted. Shares are in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    pub nodes: u32,
    /// Those with a pod.
    pub used_nodes: u32,
    /// Of a node's CPU and memory, what its pods ask for: the mean over nodes, and the deviation.
    pub cpu: Spread,
    pub memory: Spread,
    /// Of all free CPU and memory, what lies on nodes where a large pod ([`Large`]) finds no room.
    pub cpu_fragmented: f64,
    pub memory_fragmented: f64,
    /// Pods on a node, and in a zone.
    pub pods_on_node: Spread,
    pub pods_in_zone: Spread,
    pub zones: u32,
}

/// A mean and the standard deviation from it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    pub mean: f64,
    pub deviation: f64,
}

/// What a large pod asks for: of all pods nine in ten ask for no more CPU, and nine in ten for no more memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Large {
    pub milli_cpu: u64,
    pub memory: u64,
}

impl Large {
    /// Of pods by what each asks for.
    pub fn of(asked: impl Iterator<Item = (u64, u64)>) -> Self {
        let (cpu, memory) = asked.unzip();
        Large {
            milli_cpu: ninth_of_ten(cpu),
            memory: ninth_of_ten(memory),
        }
    }
}

/// The least value that nine in ten are not above.
fn ninth_of_ten(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    let place = (values.len() * 9).div_ceil(10).saturating_sub(1);
    values.get(place).copied().unwrap_or_default()
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Spread {
            mean,
            deviation: (squares / count).sqrt(),
        }
    }
}

impl Figures {
    /// Of the pods that count in a cluster.
    pub fn of(world: &World, large: Large) -> Self {
        let (mut cpu, mut memory, mut pods) = (Vec::new(), Vec::new(), Vec::new());
        let mut zones: BTreeMap<&str, f64> = BTreeMap::new();
        // Free in all, and where a large pod finds no room.
        let (mut free, mut lost) = ((0, 0), (0, 0));
        for node in world.nodes().filter(|node| World::takes_pods(node)) {
            let asked = world.asked_of(node.id);
            let all = node.allocatable;
            cpu.push(percent(asked.milli_cpu, all.milli_cpu));
            memory.push(percent(asked.memory, all.memory));
            pods.push(f64::from(asked.pods));
            if let Some(zone) = world.zone(node) {
                *zones.entry(zone).or_default() += f64::from(asked.pods);
            }
            let left = (
                all.milli_cpu.saturating_sub(asked.milli_cpu),
                all.memory.saturating_sub(asked.memory),
            );
            let fits = left.0 >= large.milli_cpu && left.1 >= large.memory && asked.pods < node.pods;
            free = (sum(free.0, left.0), sum(free.1, left.1));
            if !fits {
                lost = (sum(lost.0, left.0), sum(lost.1, left.1));
            }
        }
        let in_zones: Vec<f64> = zones.values().copied().collect();
        Figures {
            nodes: pods.len() as u32,
            used_nodes: pods.iter().filter(|pods| **pods > 0.0).count() as u32,
            cpu: Spread::of(&cpu),
            memory: Spread::of(&memory),
            cpu_fragmented: percent(lost.0, free.0),
            memory_fragmented: percent(lost.1, free.1),
            pods_on_node: Spread::of(&pods),
            pods_in_zone: Spread::of(&in_zones),
            zones: in_zones.len() as u32,
        }
    }
}

fn sum(one: u64, other: u64) -> u64 {
    one.saturating_add(other)
}

fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 * 100.0 / whole as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_pod_is_one_that_nine_in_ten_do_not_exceed() {
        let pods = (1..=20).map(|n| (n * 100, 1 << n));
        let large = Large {
            milli_cpu: 1800,
            memory: 1 << 18,
        };
        assert_eq!(Large::of(pods), large);
        assert_eq!(
            Large::of([(7, 9)].into_iter()),
            Large {
                milli_cpu: 7,
                memory: 9
            }
        );
        assert_eq!(Large::of([].into_iter()), Large::default());
    }

    #[test]
    fn a_spread_is_mean_and_deviation() {
        let spread = Spread::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!((spread.mean, spread.deviation), (5.0, 2.0));
        assert_eq!(Spread::of(&[]), Spread::default());
    }
}
