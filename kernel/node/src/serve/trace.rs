//! The ways of packets, for those who ask.
use crate::{
    agent::Node,
    network::trace::{At, Packet, Step, Verdict},
};
use sampan_api::{ApiError, Key, rpc};
use sampan_sandbox::network::Protocol;
use std::net::IpAddr;

/// The way of a packet from here on.
///
/// # Errors
/// Where there is no such pod, or no such address.
pub async fn trace(node: &Node, request: &rpc::TraceRequest) -> Result<rpc::TraceResponse, ApiError> {
    let network = node.network.as_ref();
    let network =
        network.ok_or_else(|| ApiError::bad_request("without root pods have no network of their own here"))?;
    let destination = address(&request.address)?;
    let (source, at) = source(node, request, destination)?;
    let mut steps = Vec::new();
    if at == At::Host {
        let (namespace, pod) = (&request.namespace, &request.pod);
        let text = format!("pod {namespace}/{pod} has this node's network: it speaks as the node itself");
        steps.push(Step::on("node", text));
    }
    let packet = Packet {
        source,
        destination,
        port: u16::try_from(request.port).map_err(|_| ApiError::bad_request(format!("{} is no port", request.port)))?,
        protocol: match request.protocol.as_str() {
            "" | "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            other => {
                return Err(ApiError::bad_request(format!(
                    "\"{other}\" is no protocol: tcp, udp or sctp"
                )));
            }
        },
    };
    steps.extend(network.trace(packet, at).await);
    Ok(rpc::TraceResponse {
        steps: steps.into_iter().map(|step| message(&node.config.name, step)).collect(),
    })
}

/// Who sends, and where the packet is then.
fn source(node: &Node, request: &rpc::TraceRequest, destination: IpAddr) -> Result<(IpAddr, At), ApiError> {
    if request.pod.is_empty() {
        let from = (!request.from_node.is_empty()).then(|| request.from_node.clone());
        return Ok((address(&request.source)?, At::Peer(from)));
    }
    let (namespace, pod) = (&request.namespace, &request.pod);
    let view = node.views.get(namespace, pod);
    let view = view.ok_or_else(|| ApiError::not_found(&Key::new("pods", namespace, pod)))?;
    // The node speaks to pods from its address towards them.
    let (own, at) = match request.on_host {
        true => (Some(node.gateway), At::Host),
        false => (node.addresses.lock().of(&view.uid), At::Pod),
    };
    let own = own.ok_or_else(|| ApiError::bad_request(format!("pod {namespace}/{pod} has no address yet")))?;
    // It sends from its address of the other's family.
    let same = own.iter().find(|own| own.is_ipv4() == destination.is_ipv4());
    let none = || {
        ApiError::bad_request(format!(
            "pod {namespace}/{pod} has no address of the family of {destination}"
        ))
    };
    Ok((same.ok_or_else(none)?, at))
}

fn address(text: &str) -> Result<IpAddr, ApiError> {
    text.parse()
        .map_err(|_| ApiError::bad_request(format!("\"{}\" is no address", text.escape_debug())))
}

fn message(node: &str, step: Step) -> rpc::TraceStep {
    let verdict = match step.verdict {
        Verdict::GoesOn => rpc::TraceVerdict::GoesOn,
        Verdict::Arrives => rpc::TraceVerdict::Arrives,
        Verdict::Leaves => rpc::TraceVerdict::Leaves,
        Verdict::Stops => rpc::TraceVerdict::Stops,
    };
    let mut message = rpc::TraceStep {
        node: node.to_owned(),
        what: step.what.to_owned(),
        text: step.text,
        verdict: verdict.into(),
        way: step.way.unwrap_or_default(),
        ..rpc::TraceStep::default()
    };
    if let Some((next, packet)) = step.next {
        message.next_node = next;
        message.source = packet.source.to_string();
        message.address = packet.destination.to_string();
        message.port = packet.port.into();
    }
    message
}
