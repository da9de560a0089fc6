//! Floor 2: the encrypted mesh between nodes.
//!
//! Each node has one UDP port and one TUN device. What the kernel routes into the device goes to the peer that has the
//! destination, as datagrams of a QUIC connection with mutual TLS, and comes out of that peer's device. `mesh` decides all of
//! it and does no I/O; `driver` is the thread that does; `packet` cuts and joins what the kernel handles in large pieces.
mod cidr;
mod driver;
mod mesh;
mod overlay;
mod packet;
mod socket;
mod status;
mod tun;

pub use cidr::{Cidr, NoCidr};
pub use mesh::Peer;
pub use overlay::{Config, LEAST_MTU, Overlay, OverlayError};
pub use status::{Connected, Drops, PeerStatus, Reason, Traffic};
