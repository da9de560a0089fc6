//! Placings of one scene beside each other, in the protocol's words.
use super::{Answer, Figures, Outcome, Scene};
use sampan_api::rpc::{PlacedAnew, PlacementFigures};

/// How the pods of a scene lie now, and as policies placed them, or how these failed. `elsewhere` is about the first two.
pub fn told(scene: &Scene, placed: &[(&str, Result<Outcome, String>)]) -> PlacedAnew {
    let mut figures = vec![now(scene)];
    for (name, outcome) in placed {
        figures.push(match outcome {
            Ok(outcome) => self::placed(name, scene, outcome),
            Err(problem) => PlacementFigures {
                of: (*name).to_owned(),
                problem: problem.clone(),
                ..PlacementFigures::default()
            },
        });
    }
    let elsewhere = match placed {
        [(_, Ok(one)), (_, Ok(other)), ..] => {
            let pairs = one.answers.iter().zip(&other.answers);
            pairs.filter(|(one, other)| moved(one, other)).count() as u32
        }
        _ => 0,
    };
    let large = scene.large();
    PlacedAnew {
        revision: scene.revision,
        pods: scene.pods.len() as u32,
        staying: scene.staying() as u32,
        elsewhere,
        large_milli_cpu: large.milli_cpu,
        large_memory: large.memory,
        figures,
    }
}

/// Whether both have a node, and not the same.
fn moved(one: &Answer, other: &Answer) -> bool {
    !one.node.is_empty() && !other.node.is_empty() && one.node != other.node
}

fn now(scene: &Scene) -> PlacementFigures {
    let (there, waiting): (Vec<_>, Vec<_>) = scene.pods.iter().partition(|one| !one.on.is_empty());
    PlacementFigures {
        placed: there.len() as u32,
        waiting: waiting.len() as u32,
        ..of("now", &scene.now())
    }
}

/// How pods lie that a policy placed.
fn placed(name: &str, scene: &Scene, outcome: &Outcome) -> PlacementFigures {
    PlacementFigures {
        placed: outcome.placed,
        waiting: outcome.waiting,
        preemptors: outcome.preemptors,
        victims: outcome.victims,
        refused: outcome.refused,
        micros_each: outcome.took.micros_each(outcome.decisions),
        ..of(name, &scene.figures(outcome))
    }
}

fn of(name: &str, figures: &Figures) -> PlacementFigures {
    PlacementFigures {
        of: name.to_owned(),
        nodes: figures.nodes,
        used_nodes: figures.used_nodes,
        cpu_mean: figures.cpu.mean,
        cpu_deviation: figures.cpu.deviation,
        memory_mean: figures.memory.mean,
        memory_deviation: figures.memory.deviation,
        cpu_fragmented: figures.cpu_fragmented,
        memory_fragmented: figures.memory_fragmented,
        pods_on_node_deviation: figures.pods_on_node.deviation,
        pods_in_zone_deviation: figures.pods_in_zone.deviation,
        zones: figures.zones,
        ..PlacementFigures::default()
    }
}
