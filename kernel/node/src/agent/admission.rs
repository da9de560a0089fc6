//! What the node turns away: a pod that was bound here past the scheduler, by its `nodeName`, and asks for a port of the
//! node that another pod has. Who is here stays, as with Kubernetes' agent, and in its words.
use super::table::Entry;
use crate::{
    network::host_ports,
    reconcile::{Deletion, Desired},
};
use sampan_sandbox::network::Protocol;

/// Why a pod is not taken on.
pub struct Refusal {
    pub reason: &'static str,
    pub message: String,
}

/// Whether a pod that comes can be here beside the others.
pub fn refusal<'a>(desired: &Desired, others: impl Iterator<Item = &'a Entry>) -> Option<Refusal> {
    let wanted = host_ports(&desired.pod);
    if wanted.is_empty() {
        return None;
    }
    // Who is gone or has ended holds nothing, whatever of it is still cleared away.
    let here = others.filter(|entry| entry.desired.deletion != Deletion::Gone && !entry.actual.has_ended());
    let (port, holder) = here.into_iter().find_map(|entry| {
        let held = host_ports(&entry.desired.pod);
        let port = wanted.iter().find(|one| {
            held.iter().any(|other| {
                // A port without an address is on all of them.
                let apart = one.address.zip(other.address).is_some_and(|(a, b)| a != b);
                one.number == other.number && one.protocol == other.protocol && !apart
            })
        })?;
        Some((port.clone(), &entry.desired))
    })?;
    let protocol = match port.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    };
    Some(Refusal {
        reason: "NodePorts",
        message: format!(
            "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports: {}/{protocol} is that of \
             pod {}/{}",
            port.number, holder.namespace, holder.name
        ),
    })
}
