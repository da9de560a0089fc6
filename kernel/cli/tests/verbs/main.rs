//! The verbs, as processes, against a real control plane without a node: what users type, and what they read.
mod bad_input;
mod changes;
mod lifecycle;
mod reading;
mod stage;
