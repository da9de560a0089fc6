//! Which addresses a pod gets: the plugin in the slot `ipam` says, the node checks it, and where no plugin does well the node
//! gives one itself.
//!
//! A pod's address is decided once. The plugin is asked by whoever brings up the pod, not by the worker, so no pod waits for
//! the datapath of others; the worker seats it. Whoever comes is told what all pods have before it is asked for anything.
use super::{
    failures::Failure,
    fleet::{Fleet, LineUp},
    objects::Objects,
    slot::Member,
    turn::Turn,
    worker::Input,
};
use crate::net::{AddressPool, Addresses, PodCidr};
use parking_lot::Mutex;
use sampan_api::plugin::{self, World};
use sampan_sandbox::{
    CallError,
    ipam::{Holder, Identity, IpamPlugin, Pod},
};
use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, mpsc::Sender},
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::spawn_blocking, time::timeout};

/// A plugin's words to people, in characters.
const MOST_WORDS: usize = 512;

/// Who gives addresses on this node.
pub struct Ipam {
    me: Identity,
    /// What is given, whoever gave it. Locked after the desk.
    pool: Arc<Mutex<AddressPool>>,
    desk: Mutex<Desk>,
    /// Whether it is known who is asked: a plugin sits there, or none is to come.
    known: watch::Sender<bool>,
    inputs: Sender<Input>,
}

/// The plugin, and what it is to know.
#[derive(Default)]
struct Desk {
    seat: Option<(Member, IpamPlugin)>,
    turn: Turn,
    /// By uid.
    holders: BTreeMap<String, Holder>,
}

impl Ipam {
    pub fn new(node: &str, range: PodCidr, pool: Arc<Mutex<AddressPool>>, inputs: Sender<Input>) -> Self {
        let (base, prefix) = range.ranges().v4;
        Ipam {
            me: Identity {
                node: node.to_owned(),
                base: base.into(),
                prefix,
                reserved: range.reserved().map(u32::from).into(),
            },
            pool,
            desk: Mutex::default(),
            known: watch::channel(false).0,
            inputs,
        }
    }

    /// When a plugin is to be tried again after a failure.
    pub fn due(&self) -> Option<Instant> {
        self.desk.lock().turn.due()
    }

    /// Brings in whom the line-up names. While he is still to come, the one before is asked.
    pub fn seat(&self, fleet: &mut Fleet, objects: &Objects) -> Option<Failure> {
        let line_up = fleet.line_ups(World::Ipam, objects).remove(plugin::IPAM);
        let mut desk = self.desk.lock();
        let failure = desk.seat(line_up, &self.me);
        let known = desk.seat.is_some() || !fleet.expects(World::Ipam);
        self.known
            .send_if_modified(|before| std::mem::replace(before, known) != known);
        failure
    }

    /// A pod that was here before, with its address.
    pub fn found(&self, pod: Pod, address: Ipv4Addr) {
        let holder = holder(pod, address);
        let mut desk = self.desk.lock();
        let told = desk.tell(|plugin| plugin.keep(std::slice::from_ref(&holder)));
        desk.holders.insert(holder.pod.uid.clone(), holder);
        self.report(told);
    }

    /// The addresses of a pod: those that it has, or new ones. Waits as long as this for a plugin that is still to come.
    ///
    /// # Errors
    /// In words for people.
    pub async fn claim(self: Arc<Self>, pod: Pod, patience: Duration) -> Result<Addresses, String> {
        let mut known = self.known.subscribe();
        if timeout(patience, known.wait_for(|known| *known)).await.is_err() {
            tracing::warn!(
                pod = pod.name,
                "no plugin is there to give it an address: the node does"
            );
        }
        let claimed = spawn_blocking(move || self.claim_now(pod)).await;
        claimed.map_err(|error| error.to_string())?
    }

    /// Blocks for as long as a plugin may think.
    fn claim_now(&self, pod: Pod) -> Result<Addresses, String> {
        let mut desk = self.desk.lock();
        let has = self.pool.lock().of(&pod.uid);
        if let Some(has) = has {
            return Ok(has);
        }
        match desk.ask(&pod, |address| self.pool.lock().check(address)) {
            Ok(Some(address)) => self.pool.lock().keep(&pod.uid, address),
            Ok(None) => {}
            Err(Unanswered::Refused(words)) => return Err(words),
            Err(Unanswered::Failed(failure)) => self.report(Err(failure)),
        }
        let addresses = self.pool.lock().claim(&pod.uid).map_err(|error| error.to_string())?;
        desk.holders.insert(pod.uid.clone(), holder(pod, addresses.v4));
        Ok(addresses)
    }

    /// A pod needs its addresses no more.
    pub async fn release(self: Arc<Self>, uid: String) {
        let released = spawn_blocking(move || self.release_now(&uid)).await;
        if let Err(error) = released {
            tracing::error!(%error, "a pod's address is not known to be free");
        }
    }

    fn release_now(&self, uid: &str) {
        let mut desk = self.desk.lock();
        self.pool.lock().release(uid);
        if desk.holders.remove(uid).is_some() {
            let told = desk.tell(|plugin| plugin.release(uid));
            self.report(told);
        }
    }

    /// The worker counts and tells failures, and brings in who is asked next.
    fn report(&self, told: Result<(), Failure>) {
        if let Err(failure) = told {
            let _ = self.inputs.send(Input::Failed(failure));
        }
    }
}

/// Why no plugin gave an address.
enum Unanswered {
    /// It said that there is none, and why.
    Refused(String),
    Failed(Failure),
}

impl Desk {
    fn seat(&mut self, line_up: Option<LineUp>, me: &Identity) -> Option<Failure> {
        let Some(line_up) = line_up else {
            // Nobody is wanted any more.
            (self.seat, self.turn) = Default::default();
            return None;
        };
        let sits = self.seat.as_ref().map(|(member, _)| member);
        let wanted = self.turn.next(&line_up, sits)?;
        let holders: Vec<Holder> = self.holders.values().cloned().collect();
        match bring(wanted, me, &holders) {
            Ok(plugin) => {
                tracing::info!(plugin = wanted.name, "a plugin gives pods their addresses");
                self.seat = Some((wanted.clone(), plugin));
                None
            }
            Err(error) => Some(self.turn.failed(wanted.clone(), &error)),
        }
    }

    /// Asks for a pod's address; none where nobody is there to be asked.
    fn ask(
        &mut self,
        pod: &Pod,
        check: impl FnOnce(Ipv4Addr) -> Result<(), String>,
    ) -> Result<Option<Ipv4Addr>, Unanswered> {
        let Some((member, mut plugin)) = self.seat.take() else {
            return Ok(None);
        };
        let answer = plugin.claim(pod, check);
        let answer = match answer {
            Ok(address) => Ok(Some(address)),
            Err(CallError::Refused(words)) => Err(Unanswered::Refused(shown(&words))),
            Err(error) => return Err(Unanswered::Failed(self.turn.failed(member, &error))),
        };
        self.turn.succeeded();
        self.seat = Some((member, plugin));
        answer
    }

    /// Tells whoever sits there; one that fails is gone.
    fn tell(&mut self, tell: impl FnOnce(&mut IpamPlugin) -> Result<(), CallError>) -> Result<(), Failure> {
        let Some((member, mut plugin)) = self.seat.take() else {
            return Ok(());
        };
        match tell(&mut plugin) {
            Ok(()) => {
                self.seat = Some((member, plugin));
                Ok(())
            }
            Err(error) => Err(self.turn.failed(member, &error)),
        }
    }
}

fn bring(member: &Member, me: &Identity, holders: &[Holder]) -> Result<IpamPlugin, CallError> {
    let mut plugin = member.loaded.ipam()?;
    plugin.start(me)?;
    plugin.keep(holders)?;
    Ok(plugin)
}

fn holder(pod: Pod, address: Ipv4Addr) -> Holder {
    Holder {
        pod,
        address: address.into(),
    }
}

/// A plugin's words, short enough for an event and on one line.
fn shown(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(MOST_WORDS).collect()
}
