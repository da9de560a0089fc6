//! The rules of the state machine, each seen from outside: commands in, results and events out.
mod binding;
mod checkpoints;
mod creating;
mod deleting;
mod fixture;
mod history;
mod plans;
mod replays;
mod writing;
