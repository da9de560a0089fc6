//! How a machine is let in. Of two joins that are decided on the same state one is committed, and the other decided again:
//! so two nodes that come through two servers are not given one range of addresses.
use super::{
    Front,
    membership::{addresses, check_csr},
    objects::nodes::clash,
};
use crate::{
    clock::now_millis,
    features::{self, Build, Feature},
    new_object,
    peers::{self, Peer, members},
    ranges,
    token::{Role, Token},
};
use sampan_api::{
    ApiError, Key, Operation, Plan, Reason, Selection, Write,
    dual::{ClusterRanges, Dual},
    rpc, validate,
};
use sampan_state::Snapshot;
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, Semaphore};

/// Joins that are looked at together: each is asked for without a certificate.
const TOGETHER: usize = 8;

/// Who failed waits, so that guessing is slow.
const PENALTY: Duration = Duration::from_secs(1);

/// So long a join is decided again when another came before it.
const INSISTING: Duration = Duration::from_secs(10);

/// Lets machines in.
pub struct Joining {
    front: Arc<Front>,
    turns: Semaphore,
    /// One at a time is decided here: those of other servers are enough to compete with.
    deciding: Mutex<()>,
}

/// A machine that asks.
struct Asking<'a> {
    request: &'a rpc::JoinRequest,
    token: Token,
    role: Role,
    build: Build,
}

impl Joining {
    pub fn new(front: Arc<Front>) -> Self {
        Joining {
            front,
            turns: Semaphore::new(TOGETHER),
            deciding: Mutex::default(),
        }
    }

    /// Lets a machine in.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub async fn join(&self, request: &rpc::JoinRequest) -> Result<rpc::JoinResponse, ApiError> {
        let Ok(_turn) = self.turns.acquire().await else {
            return Err(ApiError::unavailable("the control plane is shutting down"));
        };
        let admitted = match self.look_at(request) {
            Ok(asking) => self.admit(&asking).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &admitted {
            tracing::warn!(%error, "a machine was not let in");
            tokio::time::sleep(PENALTY).await;
        }
        admitted
    }

    fn look_at<'a>(&self, request: &'a rpc::JoinRequest) -> Result<Asking<'a>, ApiError> {
        let token: Token = request.token.parse()?;
        let role: Role = request.role.parse()?;
        if !validate::is_name(&request.name) {
            let message = format!(
                "\"{}\" cannot be a machine's name: use lower-case letters, digits, '-' and '.'",
                request.name
            );
            return Err(ApiError::bad_request(message));
        }
        check_csr(&request.csr_pem)?;
        if token.fingerprint != self.front.authority.fingerprint() {
            let message = "the token is of another cluster: its authority is not this one's";
            return Err(ApiError::new(Reason::Unauthorized, message));
        }
        let build = Build {
            version: request.version.clone(),
            level: request.level.max(1),
        };
        Ok(Asking {
            request,
            token,
            role,
            build,
        })
    }

    async fn admit(&self, asking: &Asking<'_>) -> Result<rpc::JoinResponse, ApiError> {
        let _deciding = self.deciding.lock().await;
        let until = Instant::now() + INSISTING;
        loop {
            self.front.replica.barrier().await?;
            let state = self.front.replica.snapshot();
            let name = &asking.request.name;
            let stored = state.get(&asking.token.key());
            let used = asking.token.admit(stored.as_deref(), asking.role, name, now_millis())?;
            let (create, welcome) = match asking.role {
                Role::Node => self.node(asking, &state)?,
                Role::Server => self.server(asking, &state)?,
            };
            let writes = vec![features::let_in(&state)?, used, create];
            match self.front.replica.commit_one(Plan { writes }).await {
                Ok(_) => return Ok(self.complete(asking.role, welcome)),
                Err(error) if Instant::now() < until && came_before(&error) => {}
                Err(error) => return Err(explained(error, name)),
            }
        }
    }

    fn node(&self, asking: &Asking<'_>, state: &Snapshot) -> Result<(Write, rpc::JoinResponse), ApiError> {
        let request = asking.request;
        let addresses = addresses(std::slice::from_ref(&request.address))?;
        let cert_pem = self
            .front
            .authority
            .sign_node(&request.name, &addresses, &request.csr_pem)
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        let cluster = ranges::of(state);
        if cluster != ClusterRanges::default() && asking.build.level < Feature::Ranges.level() {
            // It would take the usual ranges for those of this cluster.
            return Err(ApiError::new(
                Reason::Invalid,
                asking.build.too_old(Feature::Ranges.level()),
            ));
        }
        let range = free_range(state, &cluster)?;
        let node = new_object("nodes", &request.name)?.with_field("spec", &spec_of(range));
        let create = Write::new(Key::new("nodes", "", &request.name), Operation::Create(node));
        let welcome = rpc::JoinResponse {
            cert_pem,
            pod_cidr: range.to_string(),
            ..rpc::JoinResponse::default()
        };
        Ok((create, welcome))
    }

    fn server(&self, asking: &Asking<'_>, state: &Snapshot) -> Result<(Write, rpc::JoinResponse), ApiError> {
        let request = asking.request;
        asking.build.check(state)?;
        if request.standby {
            features::require(state, Feature::Standbys)?;
        }
        let (host, port) = request.address.rsplit_once(':').unwrap_or_default();
        if host.is_empty() || port.parse::<u16>().map_or(true, |port| port == 0) {
            let message = format!(
                "\"{}\" is no address that other servers can reach: give HOST:PORT with --advertise",
                request.address
            );
            return Err(ApiError::bad_request(message));
        }
        let known = members(state);
        if let Some(other) = known.iter().find(|peer| peer.address == request.address) {
            let message = format!("server \"{}\" is at {} already", other.name, other.address);
            return Err(ApiError::new(Reason::AlreadyExists, message));
        }
        let id = loop {
            let id = u64::from(rand::random::<u32>());
            if id > 1 && known.iter().all(|peer| peer.id != id) {
                break id;
            }
        };
        let range = free_range(state, &ranges::of(state))?;
        let mut spec = spec_of(range);
        spec["id"] = id.into();
        spec["address"] = request.address.clone().into();
        if request.standby {
            spec["standby"] = true.into();
        }
        let member = new_object(peers::RESOURCE, &request.name)?
            .with_field("spec", &spec)
            .with_field("status", &asking.build.status());
        let create = Write::new(Key::new(peers::RESOURCE, "", &request.name), Operation::Create(member));
        let welcome = rpc::JoinResponse {
            ca_key_pem: self.front.authority.key_pem(),
            member: id,
            pod_cidr: range.to_string(),
            ..rpc::JoinResponse::default()
        };
        Ok((create, welcome))
    }

    /// What everybody is told who comes in.
    fn complete(&self, role: Role, welcome: rpc::JoinResponse) -> rpc::JoinResponse {
        let state = self.front.replica.snapshot();
        let (known, ranges) = (members(&state), ranges::of(&state));
        rpc::JoinResponse {
            cluster_cidr: ranges.pods.to_string(),
            service_cidr: ranges.services.to_string(),
            cluster: self.front.peers.own().cluster.clone(),
            cluster_name: self.front.cluster_name.clone(),
            ca_pem: self.front.authority.ca_pem().to_owned(),
            servers: known.iter().map(|peer| peer.address.clone()).collect(),
            members: match role {
                Role::Server => known.into_iter().map(address_of).collect(),
                Role::Node => Vec::new(),
            },
            ..welcome
        }
    }
}

/// Whether a join was decided on a state that has moved on.
fn came_before(error: &ApiError) -> bool {
    let cluster = features::key().to_string();
    matches!(error.reason, Reason::Conflict | Reason::AlreadyExists) && error.message.starts_with(&cluster)
}

fn explained(error: ApiError, name: &str) -> ApiError {
    match error.reason {
        Reason::AlreadyExists => {
            let message = format!(
                "\"{name}\" is in the cluster already: choose another --name, or take the old one away first (`sampan delete \
                 node {name}`, `sampan member remove {name}`)"
            );
            ApiError::new(Reason::AlreadyExists, message)
        }
        Reason::Conflict => ApiError::new(
            Reason::Conflict,
            "the token was used by another at this moment: try again, or create another",
        ),
        _ => error,
    }
}

fn address_of(peer: Peer) -> rpc::MemberAddress {
    rpc::MemberAddress {
        id: peer.id,
        name: peer.name,
        address: peer.address,
        standby: peer.standby,
    }
}

/// The ranges of a machine's pods, in the words of its object.
pub(crate) fn spec_of(range: Dual) -> serde_json::Value {
    let all = range.texts();
    json!({"podCIDR": all[0], "podCIDRs": all})
}

/// The lowest ranges of pods' addresses that no machine has: no node, and no server that may become one.
fn free_range(state: &Snapshot, cluster: &ClusterRanges) -> Result<Dual, ApiError> {
    let (nodes, servers) = (Selection::of("nodes"), Selection::of(peers::RESOURCE));
    let machines: Vec<_> = state.list(&nodes).chain(state.list(&servers)).collect();
    let free = |range: &Dual| machines.iter().all(|(_, machine)| clash(*range, machine).is_none());
    cluster.nodes().find(free).ok_or_else(|| {
        ApiError::new(
            Reason::Conflict,
            format!(
                "all ranges of pods' addresses in {} are taken: delete nodes that are gone",
                cluster.pods
            ),
        )
    })
}
