//! What the worlds have in common whose plugins run on nodes: told of changes, they answer with operations, whose sum is what is
//! wanted.
use sampan_api::plugin::World;
use sampan_sandbox::{
    CallError, Loaded, ingress,
    network::{self, Delta, Identity},
};
use std::fmt::Display;

/// An instance of a plugin of such a world.
pub trait Planner: Sized {
    type Table: Copy + PartialEq + Display;
    type Op: Clone;
    type Sum: Default;
    type Bounds;

    const WORLD: World;

    /// A fresh one.
    ///
    /// # Errors
    /// What it failed with, or that it is of another world.
    fn make(loaded: &Loaded) -> Result<Self, CallError>;

    /// The resources that it wants to be told of.
    ///
    /// # Errors
    /// What it failed with.
    fn watches(&mut self) -> Result<Vec<String>, CallError>;

    /// Says where it runs; the tables that it fills.
    ///
    /// # Errors
    /// What it failed with.
    fn start(&mut self, me: &Identity) -> Result<Vec<Self::Table>, CallError>;

    /// Tells it of changes; what it answers is part of the sum, and returned.
    ///
    /// # Errors
    /// What it failed with; the sum is as it was.
    fn plan(
        &mut self,
        deltas: &[Delta],
        bounds: &Self::Bounds,
        sum: &mut Self::Sum,
    ) -> Result<Vec<Self::Op>, CallError>;

    /// What leads from one sum to another.
    fn changes(from: &Self::Sum, to: &Self::Sum) -> Vec<Self::Op>;
}

macro_rules! planner {
    ($plugin:ty, $world:ident, $module:ident, $sum:ident, $make:ident) => {
        impl Planner for $plugin {
            type Table = $module::Table;
            type Op = $module::Op;
            type Sum = $module::$sum;
            type Bounds = $module::Bounds;

            const WORLD: World = World::$world;

            fn make(loaded: &Loaded) -> Result<Self, CallError> {
                loaded.$make()
            }

            fn watches(&mut self) -> Result<Vec<String>, CallError> {
                <$plugin>::watches(self)
            }

            fn start(&mut self, me: &Identity) -> Result<Vec<Self::Table>, CallError> {
                <$plugin>::start(self, me).map(<[_]>::to_vec)
            }

            fn plan(
                &mut self,
                deltas: &[Delta],
                bounds: &Self::Bounds,
                sum: &mut Self::Sum,
            ) -> Result<Vec<Self::Op>, CallError> {
                <$plugin>::plan(self, deltas, bounds, sum)
            }

            fn changes(from: &Self::Sum, to: &Self::Sum) -> Vec<Self::Op> {
                from.changes_to(to)
            }
        }
    };
}

planner!(network::NetworkPlugin, Network, network, Datapath, network);
planner!(ingress::IngressPlugin, Ingress, ingress, Routing, ingress);
