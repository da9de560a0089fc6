//! What is taken on a node: amounts, places and ports.
use crate::scheduler::select::clash;
use crate::scheduler::types::{Amount, HostPort, PodClass, Resources, Rule};

/// What is taken of an extended resource, and of how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    pub resource: u32,
    pub allocatable: u64,
    pub requested: u64,
}

/// What a node has, and what its pods have taken of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    pub allocatable: Resources,
    pub requested: Resources,
    /// What scores go by: pods that ask for nothing count for something.
    pub scored_cpu: u64,
    pub scored_memory: u64,
    pub most_pods: u32,
    pub pods: u32,
    pub extended: Vec<Extended>,
    /// One entry for each pod's each port.
    pub ports: Vec<HostPort>,
}

/// What a pod asks a node for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Demand {
    pub requests: Resources,
    pub scored_cpu: u64,
    pub scored_memory: u64,
    pub extended: Vec<Amount>,
    pub ports: Vec<HostPort>,
}

impl Demand {
    pub fn of(class: &PodClass) -> Self {
        let mut extended = class.extended.clone();
        extended.retain(|amount| amount.amount > 0);
        extended.sort_unstable();
        Demand {
            requests: class.requests,
            scored_cpu: class.scored_cpu,
            scored_memory: class.scored_memory,
            extended,
            ports: class.ports.clone(),
        }
    }
}

impl Room {
    /// All of a node, with nobody there.
    pub fn empty(allocatable: Resources, most_pods: u32, extended: &[Amount]) -> Self {
        let extended = extended.iter().map(|amount| Extended {
            resource: amount.name,
            allocatable: amount.amount,
            requested: 0,
        });
        Room {
            allocatable,
            requested: Resources {
                milli_cpu: 0,
                memory: 0,
                ephemeral_storage: 0,
            },
            scored_cpu: 0,
            scored_memory: 0,
            most_pods,
            pods: 0,
            extended: extended.collect(),
            ports: Vec::new(),
        }
    }

    /// A pod comes.
    pub fn take(&mut self, demand: &Demand) {
        let requested = &mut self.requested;
        requested.milli_cpu += demand.requests.milli_cpu;
        requested.memory += demand.requests.memory;
        requested.ephemeral_storage += demand.requests.ephemeral_storage;
        self.scored_cpu += demand.scored_cpu;
        self.scored_memory += demand.scored_memory;
        self.pods += 1;
        for amount in &demand.extended {
            self.entry(amount.name).requested += amount.amount;
        }
        self.ports.extend_from_slice(&demand.ports);
    }

    /// A pod goes.
    pub fn give_back(&mut self, demand: &Demand) {
        let requested = &mut self.requested;
        requested.milli_cpu -= demand.requests.milli_cpu;
        requested.memory -= demand.requests.memory;
        requested.ephemeral_storage -= demand.requests.ephemeral_storage;
        self.scored_cpu -= demand.scored_cpu;
        self.scored_memory -= demand.scored_memory;
        self.pods -= 1;
        for amount in &demand.extended {
            self.entry(amount.name).requested -= amount.amount;
        }
        for port in &demand.ports {
            if let Some(place) = self.ports.iter().position(|taken| taken == port) {
                self.ports.swap_remove(place);
            }
        }
    }

    fn entry(&mut self, resource: u32) -> &mut Extended {
        let found = self.extended.iter().position(|entry| entry.resource == resource);
        let place = found.unwrap_or_else(|| {
            self.extended.push(Extended {
                resource,
                allocatable: 0,
                requested: 0,
            });
            self.extended.len() - 1
        });
        &mut self.extended[place]
    }

    /// How much there is of an extended resource, and how much of it is taken.
    pub fn of_extended(&self, resource: u32) -> (u64, u64) {
        let found = self.extended.iter().find(|entry| entry.resource == resource);
        found.map_or((0, 0), |entry| (entry.allocatable, entry.requested))
    }

    /// Whether ports and amounts are free.
    pub fn fits(&self, demand: &Demand) -> bool {
        let (all, used, asked) = (&self.allocatable, &self.requested, &demand.requests);
        self.pods < self.most_pods
            && !short(asked.milli_cpu, used.milli_cpu, all.milli_cpu)
            && !short(asked.memory, used.memory, all.memory)
            && !short(asked.ephemeral_storage, used.ephemeral_storage, all.ephemeral_storage)
            && demand.extended.iter().all(|amount| !self.short_of(amount))
            && self.ports_free(demand)
    }

    pub fn ports_free(&self, demand: &Demand) -> bool {
        let taken = |port: &HostPort| self.ports.iter().any(|taken| clash(taken, port));
        !demand.ports.iter().any(taken)
    }

    fn short_of(&self, amount: &Amount) -> bool {
        let (all, used) = self.of_extended(amount.name);
        short(amount.amount, used, all)
    }

    /// What is against a pod: its ports, or all the resources that are short.
    pub fn against(&self, demand: &Demand) -> Vec<Rule> {
        if !self.ports_free(demand) {
            return vec![Rule::Ports];
        }
        let (all, used, asked) = (&self.allocatable, &self.requested, &demand.requests);
        let fixed = [
            (self.pods >= self.most_pods, Rule::Pods),
            (short(asked.milli_cpu, used.milli_cpu, all.milli_cpu), Rule::Cpu),
            (short(asked.memory, used.memory, all.memory), Rule::Memory),
            (
                short(asked.ephemeral_storage, used.ephemeral_storage, all.ephemeral_storage),
                Rule::EphemeralStorage,
            ),
        ];
        let fixed = fixed.into_iter().filter_map(|(short, rule)| short.then_some(rule));
        let extended = demand.extended.iter().filter(|amount| self.short_of(amount));
        fixed
            .chain(extended.map(|amount| Rule::Extended(amount.name)))
            .collect()
    }

    /// Whether the pod would fit if nobody were there.
    pub fn could_ever_fit(&self, demand: &Demand) -> bool {
        let (all, asked) = (&self.allocatable, &demand.requests);
        self.most_pods > 0
            && asked.milli_cpu <= all.milli_cpu
            && asked.memory <= all.memory
            && asked.ephemeral_storage <= all.ephemeral_storage
            && demand
                .extended
                .iter()
                .all(|amount| amount.amount <= self.of_extended(amount.name).0)
    }
}

/// Nothing asked of a resource always fits.
fn short(asked: u64, used: u64, all: u64) -> bool {
    asked > 0 && asked > all.saturating_sub(used)
}
