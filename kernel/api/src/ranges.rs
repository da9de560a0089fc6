//! The addresses and ports of a cluster where nothing else is said.
use std::{net::Ipv4Addr, ops::RangeInclusive};

/// The range that Services have their cluster addresses from, as kubeadm has it: its first address and its prefix.
pub const SERVICES: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 0), 12);

/// The range that nodes get the ranges of their pods from: its first address and its prefix.
pub const PODS: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 42, 0, 0), 16);

/// The ports that Services get on nodes, as Kubernetes has them.
pub const NODE_PORTS: RangeInclusive<u16> = 30_000..=32_767;

/// The UDP port that nodes exchange their pods' packets on.
pub const OVERLAY_PORT: u16 = 7444;
