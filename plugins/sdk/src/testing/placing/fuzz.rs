//! Random changes, each valid, and whether answers depend on how the policy came to know of them.
use super::{
    Kernel, NodeShape, PodShape, Subject,
    generate::{random_node, random_pod},
    kernel::Placed,
};
use crate::{
    scheduler::types::{Pod, PodGroup},
    testing::Draw,
};

/// Rounds of changes and pods for a seed.
const ROUNDS: usize = 40;

/// What is wrong, and where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub seed: u64,
    pub round: usize,
    pub what: String,
}

/// Lets random things happen to a cluster. After each round three answers must be one: that of the policy that was told of
/// changes, that of one that is told everything from nothing, and what `explain` says of a pod before it is placed.
///
/// # Errors
/// What is wrong first, or how the policy failed.
pub fn fuzz<S: Subject>(seed: u64, mut make: impl FnMut() -> Result<S, String>) -> Result<(), Finding> {
    let finding = |round: usize| move |what: String| Finding { seed, round, what };
    let mut subject = make().map_err(finding(0))?;
    let mut life = Life::new(seed);
    for round in 0..ROUNDS {
        life.change();
        life.tell(&mut subject).map_err(finding(round))?;
        let mut fresh = make().map_err(finding(round))?;
        life.kernel.tell_all(&mut fresh).map_err(finding(round))?;
        life.compare(&mut subject, &mut fresh).map_err(finding(round))?;
    }
    Ok(())
}

struct Life {
    draw: Draw,
    kernel: Kernel,
    nodes: u32,
    pods: u32,
    clock: u32,
    shapes: Vec<PodShape>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let mut kernel = Kernel::default();
        let nodes = 2 + draw.below(12) as u32;
        for id in 1..=nodes {
            kernel.put_node(&small_node(&mut draw, id));
        }
        let shapes = (0..8).map(|_| random_pod(&mut draw, nodes)).collect();
        Life {
            draw,
            kernel,
            nodes,
            pods: 0,
            clock: 1,
            shapes,
        }
    }

    /// Some things happen.
    fn change(&mut self) {
        self.clock += 1;
        for _ in 0..self.draw.below(5) {
            let known = 1 + self.draw.below(self.nodes as usize) as u32;
            match self.draw.below(9) {
                0 => self.kernel.remove_node(&format!("node-{known}")),
                1 => {
                    self.nodes += 1;
                    self.kernel.put_node(&small_node(&mut self.draw, self.nodes));
                }
                2 | 3 => {
                    self.kernel.put_node(&small_node(&mut self.draw, known));
                }
                4 => self.bind(),
                5 => {
                    let place = self.draw.below(self.shapes.len());
                    self.shapes[place] = random_pod(&mut self.draw, self.nodes);
                    self.kernel.forget_classes(&[]);
                }
                6 => {
                    if let Some(pod) = self.some_pod() {
                        self.kernel.end(pod);
                    }
                }
                _ => {
                    if let Some(pod) = self.some_pod() {
                        self.kernel.release(pod);
                    }
                }
            }
        }
    }

    fn some_pod(&mut self) -> Option<u32> {
        let pods: Vec<u32> = self.kernel.pods.keys().copied().collect();
        (!pods.is_empty()).then(|| self.draw.one(&pods))
    }

    /// A pod that somebody else bound, whatever the policy would have said.
    fn bind(&mut self) {
        let nodes: Vec<u32> = self.kernel.nodes.keys().copied().collect();
        if nodes.is_empty() {
            return;
        }
        self.pods += 1;
        let place = self.draw.below(self.shapes.len());
        let class = self.kernel.class(&self.shapes[place]);
        let node = self.draw.one(&nodes);
        let (start, ending) = (self.clock, self.draw.chance(10));
        let placed = Placed {
            node,
            class,
            start,
            ending,
        };
        self.kernel.bind(self.pods, placed);
    }

    fn tell(&mut self, subject: &mut impl Subject) -> Result<(), String> {
        match self.kernel.has_news() {
            true => self.kernel.tell(subject),
            false => Ok(()),
        }
    }

    fn compare(&mut self, told: &mut impl Subject, fresh: &mut impl Subject) -> Result<(), String> {
        let mut pods: Vec<Pod> = Vec::new();
        for _ in 0..1 + self.draw.below(6) {
            self.pods += 1;
            let place = self.draw.below(self.shapes.len());
            let known = self.kernel.class(&self.shapes[place]);
            // A class that is new would have to be told first.
            if self.kernel.has_news() {
                self.kernel.tell(told)?;
                self.kernel.tell_all(fresh)?;
            }
            let pod = self.kernel.waiting(self.pods, &self.shapes[place]);
            pods.push(Pod { class: known, ..pod });
        }
        let (one, other) = (told.explain(&pods[0], 1000)?, fresh.explain(&pods[0], 1000)?);
        if one != other {
            return Err(format!(
                "explain of {:?}: {one:?} by changes, {other:?} from nothing",
                pods[0]
            ));
        }
        let group = PodGroup {
            first: 1,
            count: 2,
            least: 2,
        };
        let groups = if pods.len() > 3 && self.draw.chance(30) {
            vec![group]
        } else {
            Vec::new()
        };
        let mut left = &pods[..];
        while !left.is_empty() {
            let first = left.len() == pods.len();
            let groups = if first { &groups[..] } else { &[] };
            let (said, anew) = (told.place(left, groups)?, fresh.place(left, groups)?);
            if said != anew {
                return Err(format!("place of {left:?}: {said:?} by changes, {anew:?} from nothing"));
            }
            if first && said.nodes.first() != Some(&one.node) {
                let (placed, explained) = (said.nodes.first(), one.node);
                return Err(format!(
                    "{:?} is placed on {placed:?}, and explain says {explained}",
                    left[0]
                ));
            }
            let answered = said.nodes.len().clamp(1, left.len());
            let problems = self.kernel.take_in(&left[..answered], &said, self.clock);
            if let Some(problem) = problems.into_iter().next() {
                return Err(problem);
            }
            left = &left[answered..];
        }
        // Some binds are not carried out after all.
        for pod in &pods {
            if self.draw.chance(10) {
                self.kernel.release(pod.id);
            }
        }
        Ok(())
    }
}

/// Small, so that pods meet.
fn small_node(draw: &mut Draw, id: u32) -> NodeShape {
    NodeShape {
        milli_cpu: draw.one(&[500, 1000, 2000]),
        memory: draw.one(&[1 << 30, 4 << 30]),
        pods: draw.one(&[2, 4, 110]),
        unschedulable: draw.chance(5),
        ready: !draw.chance(5),
        ..random_node(draw, id)
    }
}
