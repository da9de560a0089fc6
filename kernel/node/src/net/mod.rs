//! The network of pods: an address for each, and a wire to it.
//!
//! There is no bridge. Each pod has a pair of virtual interfaces: `eth0` inside, `sp…` on the node, with a route to the
//! pod's one address. Inside, everything goes to a gateway that exists in no network but as a fixed neighbour, so no
//! pod ever waits for an answer to ARP. Where there is no root there are no interfaces, and pods live on addresses of the
//! loopback.
mod address;
mod apart;
mod bandwidth;
mod family;
mod files;
mod gateway;
mod isolate;
pub(crate) mod netlink;
mod resolv;
mod step;
mod wire;

pub use address::{AddressPool, Addresses, NoAddress, PodCidr};
pub use apart::from_host as apart_from_host;
pub use bandwidth::Bandwidth;
pub use family::{available as has_ipv6, beside};
pub use files::{CLUSTER_DOMAIN, ClusterDns, hostname, write_files};
pub use gateway::Gateway;
pub use isolate::own_namespace;
pub use resolv::ResolvConf;
pub use step::WireError;
pub use wire::{Wire, mtu, owned_name, pod_prefix, sweep};
