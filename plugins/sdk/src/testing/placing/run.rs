//! A policy put through a trace, and what came of it.
use super::{Kernel, PodShape, Step, Subject, Trace};
use crate::scheduler::types::{Placement, Pod, PodGroup, Refusal, Rule};
use std::{
    collections::BTreeMap,
    fmt::Write,
    time::{Duration, Instant},
};

/// Pods in a call, as the kernel gives them.
const BATCH: usize = 256;
/// How many pods that wait are asked for again when others come.
const AGAIN: usize = 64;
/// Problems that are told.
const MOST_PROBLEMS: usize = 20;

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was said of each pod, a line each time it was asked for: the same policy says the same, byte for byte.
    pub answers: String,
    /// Pods that got a node, and asks that were refused.
    pub placed: usize,
    pub refused: usize,
    /// What cannot be carried out; empty of a policy that is right.
    pub problems: Vec<String>,
    /// How long each call of `place` took, and for how many answers.
    pub calls: Vec<(Duration, usize)>,
    /// Nodes at the end, and those with pods.
    pub nodes: usize,
    pub used_nodes: usize,
    /// What is requested of all CPU and memory at the end, in percent.
    pub cpu: u64,
    pub memory: u64,
}

/// Puts a policy through a trace.
///
/// # Errors
/// How the policy failed.
pub fn run(trace: &Trace, subject: &mut impl Subject) -> Result<Report, String> {
    let mut course = Course::default();
    for step in &trace.steps {
        course.step(step, subject)?;
    }
    if course.kernel.has_news() {
        course.kernel.tell(subject)?;
    }
    Ok(course.finish())
}

/// A trace under way.
#[derive(Default)]
struct Course {
    kernel: Kernel,
    /// Pods that wait, by their numbers.
    waiting: BTreeMap<u32, PodShape>,
    came: u32,
    clock: u32,
    report: Report,
}

impl Course {
    fn step(&mut self, step: &Step, subject: &mut impl Subject) -> Result<(), String> {
        self.clock += 1;
        match step {
            Step::Node(shape) => {
                self.kernel.put_node(shape);
            }
            Step::NodeGone(name) => self.kernel.remove_node(name),
            Step::Ended(pods) => {
                for pod in pods {
                    self.waiting.remove(pod);
                    self.kernel.drop_nomination(*pod);
                    self.kernel.release(*pod);
                }
            }
            Step::Pods { count, together, pod } => {
                self.let_end();
                let again: Vec<u32> = self.waiting.keys().take(AGAIN).copied().collect();
                self.ask(&again, false, subject)?;
                let new: Vec<u32> = (self.came + 1..=self.came + count).collect();
                self.came += count;
                self.waiting.extend(new.iter().map(|id| (*id, pod.clone())));
                let size = if *together { new.len() } else { BATCH };
                for batch in new.chunks(size.max(1)) {
                    self.ask(batch, *together, subject)?;
                }
            }
        }
        Ok(())
    }

    /// Victims of the calls before are gone by now.
    fn let_end(&mut self) {
        let ending = self.kernel.pods.iter().filter(|(_, placed)| placed.ending);
        let ending: Vec<u32> = ending.map(|(pod, _)| *pod).collect();
        ending.into_iter().for_each(|pod| self.kernel.release(pod));
    }

    fn ask(&mut self, ids: &[u32], together: bool, subject: &mut impl Subject) -> Result<(), String> {
        let mut pods: Vec<Pod> = Vec::new();
        for id in ids {
            if let Some(shape) = self.waiting.get(id) {
                pods.push(self.kernel.waiting(*id, shape));
            }
        }
        if self.kernel.has_news() {
            self.kernel.tell(subject)?;
        }
        let count = pods.len() as u32;
        let group = PodGroup {
            first: 0,
            count,
            least: count,
        };
        let mut left = &pods[..];
        while !left.is_empty() {
            let groups: &[PodGroup] = if together { &[group] } else { &[] };
            let started = Instant::now();
            let placement = subject.place(left, groups)?;
            let took = subject.took().unwrap_or_else(|| started.elapsed());
            self.report.calls.push((took, placement.nodes.len()));
            let answered = placement.nodes.len().clamp(1, left.len());
            self.note(&left[..answered], &placement);
            left = &left[answered..];
        }
        Ok(())
    }

    fn note(&mut self, pods: &[Pod], placement: &Placement) {
        let problems = self.kernel.take_in(pods, placement, self.clock);
        let room = MOST_PROBLEMS.saturating_sub(self.report.problems.len());
        self.report.problems.extend(problems.into_iter().take(room));
        for (place, pod) in pods.iter().enumerate() {
            let node = placement.nodes.get(place).copied().unwrap_or(0);
            let name = self.kernel.name_of(node).unwrap_or("nowhere").to_owned();
            if node != 0 {
                self.report.placed += 1;
                self.waiting.remove(&pod.id);
                let _ = writeln!(self.report.answers, "pod {}: {name}", pod.id);
                continue;
            }
            self.report.refused += 1;
            let unplaced = placement
                .unplaced
                .iter()
                .find(|unplaced| unplaced.pod as usize == place);
            let refusal = unplaced.and_then(|unplaced| placement.refusals.get(unplaced.refusal as usize));
            let why = refusal.map_or_else(String::new, |refusal| in_words(&self.kernel, refusal));
            let _ = write!(self.report.answers, "pod {}: {why}", pod.id);
            if let Some(unplaced) = unplaced.filter(|unplaced| unplaced.nominated != 0) {
                let node = self.kernel.name_of(unplaced.nominated).unwrap_or("nowhere");
                let _ = write!(
                    self.report.answers,
                    "; waits for {node}, victims {:?}",
                    unplaced.victims
                );
            }
            self.report.answers.push('\n');
        }
    }

    fn finish(mut self) -> Report {
        let percent = |used: u64, all: u64| (used * 100).checked_div(all).unwrap_or(0);
        let (mut cpu, mut memory) = ((0, 0), (0, 0));
        for node in self.kernel.nodes.values() {
            let classes = self
                .kernel
                .pods_on(node.id)
                .filter_map(|(_, placed)| self.kernel.classes.get(&placed.class));
            let mut used = false;
            for class in classes {
                used = true;
                cpu.0 += class.requests.milli_cpu;
                memory.0 += class.requests.memory >> 20;
            }
            cpu.1 += node.allocatable.milli_cpu;
            memory.1 += node.allocatable.memory >> 20;
            self.report.used_nodes += usize::from(used);
        }
        self.report.nodes = self.kernel.nodes.len();
        (self.report.cpu, self.report.memory) = (percent(cpu.0, cpu.1), percent(memory.0, memory.1));
        self.report
    }
}

impl Report {
    /// How long calls took: that many of a thousand took no longer, and each answer on average.
    pub fn latency(&self, per_mille: usize) -> Duration {
        let mut all: Vec<Duration> = self.calls.iter().map(|(took, _)| *took).collect();
        all.sort_unstable();
        let place = (all.len() * per_mille).div_ceil(1000).saturating_sub(1);
        all.get(place).copied().unwrap_or_default()
    }

    /// Microseconds for each answer, on average.
    pub fn micros_each(&self) -> f64 {
        let took: Duration = self.calls.iter().map(|(took, _)| *took).sum();
        let answers: usize = self.calls.iter().map(|(_, answers)| *answers).sum();
        took.as_secs_f64() * 1e6 / answers.max(1) as f64
    }
}

/// A refusal as people read it.
pub fn in_words(kernel: &Kernel, refusal: &Refusal) -> String {
    let mut text = format!("0/{} nodes will do", refusal.nodes);
    for (place, turned_down) in refusal.turned_down.iter().enumerate() {
        let rule = words_of(kernel, turned_down.rule);
        let _ = write!(
            text,
            "{} {} {rule}",
            if place == 0 { ":" } else { "," },
            turned_down.nodes
        );
    }
    if refusal.for_its_group {
        text.push_str(", for its group");
    }
    text
}

fn words_of(kernel: &Kernel, rule: Rule) -> String {
    let fixed = match rule {
        Rule::Taint(label) => return format!("taint {}={}", kernel.text(label.key), kernel.text(label.value)),
        Rule::Extended(name) => return kernel.text(name).to_owned(),
        Rule::NodeName => "node name",
        Rule::Unschedulable => "cordoned",
        Rule::NodeAffinity => "node affinity",
        Rule::Ports => "host ports",
        Rule::Pods => "pods",
        Rule::Cpu => "cpu",
        Rule::Memory => "memory",
        Rule::EphemeralStorage => "ephemeral storage",
        Rule::SpreadLabel => "spread label",
        Rule::Spread => "spread",
        Rule::Affinity => "affinity",
        Rule::AntiAffinity => "anti-affinity",
        Rule::ExistingAntiAffinity => "existing anti-affinity",
    };
    fixed.to_owned()
}
