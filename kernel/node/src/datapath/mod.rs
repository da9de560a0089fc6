//! The node's datapath in the kernel: what plugins of the world `network` want becomes one table of nf_tables and a few
//! routes.
//!
//! Nothing in the table is a Service's or an endpoint's own but elements of maps, so a change costs what it changes,
//! however many Services there are. A connection to a Service is looked up in `inside` or `outside`, by where it comes from,
//! which have the number of a *shape*: so many places for backends, with or without affinity. The shape's chain draws
//! a place and finds the backend of it in `places`. Numbers instead of jumps, because the kernel walks through all
//! jumps of a table again when one is added.
//!
//! [`KernelDatapath`] is the face. `state` is what is wanted, and works out what differs (`frontends`, `policies`, `pods`);
//! `layout`, `rules` and `shapes` are the table's; `nft` speaks with nf_tables, `routes`, `forwarding` and `connections` with the rest
//! of the kernel.
//!
//! Invariants:
//! - what is wanted changes in one transaction, or not at all: who is refused has what he had before;
//! - a packet sees the table before a change or after it, and one that falls in between is dropped, to be sent again;
//! - connections that stand stay where they are, whatever changes; what is on its way to a backend that left, and UDP, which
//!   stands nowhere, is decided anew;
//! - the table and the routes are found again by their name and number, so nothing is left after a crash that the next
//!   start does not replace.
mod changes;
mod connections;
mod conntrack;
mod error;
mod forwarding;
mod frontends;
mod intervals;
mod kernel;
mod layout;
mod nft;
mod places;
mod pods;
mod policies;
mod routes;
mod row;
mod rules;
mod settings;
mod shapes;
mod state;

pub use error::DatapathError;
pub use kernel::{Done, KernelDatapath};
pub use pods::PodLink;
pub use settings::Settings;

/// Asks whether this kernel has nf_tables, and lets us.
///
/// # Errors
/// What is lacking, and what to do.
pub fn available() -> Result<(), DatapathError> {
    let mut socket = nft::Socket::open().map_err(DatapathError::of_nftables)?;
    socket.generation().map(drop).map_err(DatapathError::of_nftables)
}
