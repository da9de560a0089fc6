//! What the export calls: sync, place, explain.
mod explain;
mod place;
mod shelf;

use crate::{
    Cluster,
    config::{Config, DefaultConstraint, Defaulting},
    counts::{Carries, Counts},
    index::{Judge, Pair, Question, Weighing},
    names::Names,
    rules::{Book, Compiler},
    score::Scores,
    survey,
};
use sampan_sdk::scheduler::types::Changes;
use shelf::Shelf;

/// Sets of rules at the most; beyond, all are compiled anew as they are needed.
const MOST_RULES: usize = 1 << 16;

/// The state of the plugin.
pub struct Engine {
    config: Config,
    defaults: Vec<DefaultConstraint>,
    scores: Scores,
    weights: [i64; 7],
    pub cluster: Cluster,
    book: Book,
    shelf: Shelf,
    weighing: Weighing,
    locality: u64,
    synced: u64,
}

impl Default for Engine {
    fn default() -> Self {
        Engine::new(Config::default())
    }
}

impl Engine {
    pub fn new(config: Config) -> Self {
        Engine {
            defaults: config.defaults(),
            scores: Scores::new(&config),
            weights: survey::weights(&config.weights),
            cluster: cluster_of(&config),
            config,
            book: Book::default(),
            shelf: Shelf::default(),
            weighing: Weighing::default(),
            locality: 0,
            synced: 0,
        }
    }

    /// Takes the Plugin object's config, before anything else.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn configure(&mut self, config: &str) -> Result<(), String> {
        *self = Engine::new(Config::read(config)?);
        Ok(())
    }

    /// Brings the mirror from `base` to `next`; from 0 means from nothing.
    ///
    /// # Errors
    /// If it is not at `base`, or a change does not fit it. Then it is at nothing.
    pub fn sync(&mut self, base: u64, next: u64, changes: Changes) -> Result<(), String> {
        if base == 0 {
            *self = Engine::new(self.config.clone());
        } else if base != self.synced {
            return Err(format!("the mirror is at {}, not at {base}", self.synced));
        }
        for class in changes
            .classes
            .iter()
            .map(|class| class.id)
            .chain(changes.classes_gone.iter().copied())
        {
            self.book.forget(class);
        }
        let taken_in = self.cluster.take_in(changes);
        self.synced = if taken_in.is_ok() { next } else { 0 };
        if self.book.len() > MOST_RULES {
            self.cluster.start_anew();
        }
        taken_in
    }

    /// The number of a class's rules as of now.
    fn rules_of(&mut self, class: u32) -> Option<u32> {
        let (counts, topology) = (&self.cluster.counts, &self.cluster.counts.topology);
        if self.book.follow(counts.generation) || self.locality != topology.locality {
            self.locality = topology.locality;
            self.shelf = Shelf::default();
        }
        if let Some(rules) = self.book.known(class, counts.carried.len()) {
            return Some(rules);
        }
        let class = self.cluster.mirror.class(class)?.clone_said();
        let mut compiler = Compiler {
            cluster: &mut self.cluster,
            defaults: &self.defaults,
            system: self.config.defaulting_type == Defaulting::System,
        };
        Some(self.book.rules_of(&mut compiler, &class))
    }

    /// Works with the index that serves some rules.
    fn with_index<T>(
        &mut self,
        rules: u32,
        task: impl FnOnce(&mut Pair<'_>, &Judge<'_>, &Question, &mut Weighing) -> T,
    ) -> T {
        let judge = Judge {
            cluster: &self.cluster,
            scores: &self.scores,
            weights: &self.weights,
        };
        let numbered = (rules, self.book.get(rules));
        let task =
            |pair: &mut Pair<'_>, question: &Question, weighing: &mut Weighing| task(pair, &judge, question, weighing);
        self.shelf.with(&judge, numbered, &mut self.weighing, task)
    }
}

/// A cluster of nothing, that is counted as the config says.
fn cluster_of(config: &Config) -> Cluster {
    let texts = config.texts();
    let carries = Carries {
        hard_weight: config.hard_pod_affinity_weight.0,
        preferred: !config.ignore_preferred_terms_of_existing_pods,
    };
    Cluster::new(Names::watching(texts.iter().map(String::as_str)), Counts::new(carries))
}
