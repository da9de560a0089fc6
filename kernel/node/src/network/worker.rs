//! The one thread that decides about the node's network: what the control plane says and which pods are here goes in, the
//! plugins are asked, and what they want is made so.
use super::{
    door::Door,
    failures::{Failure, Tell},
    feed::Feeds,
    figures::{self, Figures},
    filters::Filtering,
    fleet::{Fleet, Make},
    ground::{Ground, LocalPod},
    host_ports,
    ipam::Ipam,
    kept::Keeper,
    limits::Limits,
    objects::Objects,
    peers::Peers,
    slots::Slots,
    trace::{At, Here, Packet, Step},
};
use crate::control::Change;
use sampan_api::{Key, plugin};
use sampan_overlay::PeerStatus;
use sampan_sandbox::{
    Loaded,
    ingress::{IngressPlugin, Routing},
    network::{Datapath, Identity, NetworkPlugin, Op, Range},
};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};
use tokio::sync::{oneshot, watch};

/// Before what the kernel did not take is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// How often it is looked whether somebody else has changed what is the network's.
const ROUND: Duration = Duration::from_secs(30);

/// What the worker is told.
pub enum Input {
    /// Of the objects of a resource.
    Change {
        resource: String,
        change: Change,
    },
    /// A plugin that was sent for has come, or cannot be loaded.
    Loaded {
        name: String,
        make: Make,
        result: Result<Box<Loaded>, String>,
    },
    /// A pod has its wire; told when everything holds for it that plugins want.
    PodUp {
        pod: LocalPod,
        ready: Option<oneshot::Sender<()>>,
    },
    PodDown {
        uid: String,
    },
    /// Whoever asks for the way of a packet.
    Trace {
        packet: Packet,
        at: At,
        answer: oneshot::Sender<Vec<Step>>,
    },
    /// Whoever looks at all of it, once everybody was asked who was told something.
    Look(Look),
    /// Whoever asks for figures of all of it.
    Figures(oneshot::Sender<Figures>),
    /// Whoever asks for the overlay's peers.
    Peers(oneshot::Sender<Vec<PeerStatus>>),
    /// The machine has this address now, in place of the one it had.
    Moved(IpAddr),
    /// A plugin failed that was asked by another than the worker.
    Failed(Failure),
    /// All pods that were here before are known again.
    Adopted,
    /// The end. With `clear` nothing is left in the kernel.
    Stop {
        clear: bool,
    },
}

/// A look at the worker: it changes nothing.
pub type Look = Box<dyn FnOnce(&Worker) + Send>;

pub struct Worker {
    pub me: Identity,
    /// The ranges of all pods of the cluster.
    pub cluster: Vec<Range>,
    pub inputs: Receiver<Input>,
    pub objects: Objects,
    pub limits: Limits,
    pub fleet: Fleet,
    pub slots: Slots<NetworkPlugin>,
    pub ingresses: Slots<IngressPlugin>,
    pub ipam: Arc<Ipam>,
    pub door: Door,
    pub filtering: Filtering,
    /// What was wanted of the ingress before is still to be brought to it.
    pub resuming: bool,
    /// What no plugin decides about.
    pub host_ports: Datapath,
    pub feeds: Feeds,
    pub ground: Ground,
    pub peers: Peers,
    pub keeper: Keeper,
    pub tell: Tell,
    /// How often plugins have failed.
    pub failures: BTreeMap<String, u64>,
    /// Those that wait for their pod's rules.
    pub waiting: Vec<(LocalPod, oneshot::Sender<()>)>,
    pub looks: Vec<Look>,
    /// Plugins have said how the network is to be.
    pub established: watch::Sender<bool>,
    /// Pods that were here before are still being found.
    pub adopting: bool,
}

impl Worker {
    /// Runs until it is told to end, or nobody can tell it anything.
    pub fn run(mut self) {
        let mut look = Instant::now() + ROUND;
        loop {
            let wake = match self.ground.is_behind() && !self.adopting {
                true => look.min(Instant::now() + PAUSE),
                false => look,
            };
            let dues = [
                self.keeper.due(),
                self.slots.due(),
                self.ingresses.due(),
                self.ipam.due(),
                self.ground.due(),
            ];
            let wake = dues.into_iter().flatten().fold(wake, Instant::min);
            let first = self.inputs.recv_timeout(wake.saturating_duration_since(Instant::now()));
            if matches!(first, Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            let queued: Vec<Input> = first.into_iter().chain(self.inputs.try_iter()).collect();
            for input in queued {
                if let Input::Stop { clear } = input {
                    return self.end(clear);
                }
                self.take(input);
            }
            let ops = self.turn();
            for look in std::mem::take(&mut self.looks) {
                look(&self);
            }
            if Instant::now() >= look {
                self.ground.look();
                look = Instant::now() + ROUND;
            }
            self.settle(&ops);
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Change { resource, change } => {
                for news in self.objects.take(&resource, change) {
                    self.limits.take(&news);
                    self.peers.take(&news);
                    self.slots.take(&news);
                    self.ingresses.take(&news);
                    self.filtering.take(&news);
                }
            }
            Input::Loaded { name, make, result } => {
                if let Err(why) = self.fleet.arrived(make, result) {
                    let failure = Failure {
                        plugin: name,
                        why,
                        given_up: true,
                    };
                    self.tell(&failure);
                }
            }
            Input::Failed(failure) => self.failed(&failure),
            Input::PodUp { pod, ready } => {
                self.waiting.extend(ready.map(|ready| (pod.clone(), ready)));
                self.ground.pod_up(pod);
            }
            Input::PodDown { uid } => self.ground.pod_down(&uid),
            Input::Trace { packet, at, answer } => drop(answer.send(self.trace(packet, &at))),
            Input::Look(look) => self.looks.push(look),
            Input::Figures(asks) => drop(asks.send(self.figures())),
            Input::Peers(asks) => drop(asks.send(self.ground.peers())),
            Input::Moved(address) => {
                self.ground.moved(address);
                self.door.moved(address);
                self.resuming = true;
            }
            Input::Adopted => self.adopting = false,
            Input::Stop { .. } => {}
        }
    }

    fn figures(&mut self) -> Figures {
        let datapath = sum(&self.host_ports, &self.slots);
        Figures {
            peers: self.ground.peers(),
            drops: self.ground.drops(),
            services: figures::services(&datapath),
            connections: figures::connections(&datapath, &self.ground.connections()),
            failures: self.failures.clone(),
            ingress: self.door.figures(),
        }
    }

    fn trace(&self, packet: Packet, at: &At) -> Vec<Step> {
        let here = Here {
            datapath: &sum(&self.host_ports, &self.slots),
            objects: &self.objects,
            pods: self.ground.pods().collect(),
            peers: self.ground.peers(),
            me: &self.me.node,
            gateways: self.ground.gateways(),
            nodes: &self.limits.bounds().nodes,
            own: self.me.pod_ranges.clone(),
            cluster: self.cluster.clone(),
            services: self.me.service_ranges.clone(),
        };
        here.trace(packet, at)
    }

    /// Seats whom the line-ups name, and asks everybody who was told something.
    fn turn(&mut self) -> Vec<Op> {
        let (mut ops, mut onward, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        if self.objects.is_synced(plugin::RESOURCE) {
            let (more, failed) = self.slots.seat(&mut self.fleet, &self.objects, &self.me);
            ops.extend(more);
            failures.extend(failed);
            let (more, failed) = self.ingresses.seat(&mut self.fleet, &self.objects, &self.me);
            onward.extend(more);
            failures.extend(failed);
            failures.extend(self.ipam.seat(&mut self.fleet, &self.objects));
            self.filtering.turn(&self.objects);
        }
        for resource in self.slots.watches().chain(self.ingresses.watches()) {
            self.feeds.want(resource);
        }
        let (more, failed) = self.slots.ask(&self.objects, self.limits.bounds());
        ops.extend(more);
        failures.extend(failed);
        let (more, failed) = self.ingresses.ask(&self.objects, self.limits.ingress());
        onward.extend(more);
        failures.extend(failed);
        failures.iter().for_each(|failure| self.failed(failure));
        let host_ports = host_ports::datapath(self.ground.pods());
        ops.extend(self.host_ports.changes_to(&host_ports));
        self.host_ports = host_ports;
        if !onward.is_empty() {
            self.keeper.changed();
        }
        if !onward.is_empty() || self.door.is_stuck() || std::mem::take(&mut self.resuming) {
            self.door
                .set(&Routing::sum(self.ingresses.sums().map(|(_, routing)| routing)));
        }
        ops
    }

    fn failed(&mut self, failure: &Failure) {
        *self.failures.entry(failure.plugin.clone()).or_default() += 1;
        self.tell(failure);
    }

    fn tell(&self, failure: &Failure) {
        let key = Key::new(plugin::RESOURCE, "", &failure.plugin);
        let uid = self.objects.get(&key).map_or("", |object| &object.metadata.uid);
        (self.tell)(failure, uid);
    }

    /// Makes it so, in the kernel and towards the peers, and says so to those who wait for it.
    fn settle(&mut self, ops: &[Op]) {
        if self.adopting {
            return;
        }
        self.ground.settle(ops, || sum(&self.host_ports, &self.slots));
        let of_slots = self.slots.sums().map(|(_, datapath)| datapath);
        if let Some(peers) = self.peers.changed(of_slots, ops) {
            self.ground.set_peers(peers);
        }
        if !ops.is_empty() {
            self.keeper.changed();
        }
        self.keeper.keep(&self.slots, &self.ingresses, &self.peers);
        self.answer();
    }

    /// Whether plugins are still to come or to be told something, or what they want is still to be made so.
    fn is_behind(&self) -> bool {
        !self.objects.is_synced(plugin::RESOURCE)
            || self.fleet.expects_some()
            || self.slots.are_behind()
            || self.ground.is_behind()
    }

    /// Those whose pods are as plugins want them.
    fn answer(&mut self) {
        if self.is_behind() {
            return;
        }
        self.established
            .send_if_modified(|established| !std::mem::replace(established, true));
        let follows_pods = self.slots.watches().any(|resource| resource == "pods");
        for (pod, ready) in std::mem::take(&mut self.waiting) {
            let known = self.objects.get(&pod.key());
            if !follows_pods || known.is_some_and(|known| known.metadata.uid == pod.uid) {
                let _ = ready.send(());
            } else if !ready.is_closed() {
                self.waiting.push((pod, ready));
            }
        }
    }

    fn end(&mut self, clear: bool) {
        self.keeper.write(&self.slots, &self.ingresses, &self.peers);
        if clear {
            self.ground.clear();
        }
    }
}

/// All that is wanted of the datapath.
fn sum(host_ports: &Datapath, slots: &Slots<NetworkPlugin>) -> Datapath {
    let of_slots = slots.sums().map(|(_, datapath)| datapath);
    Datapath::sum([host_ports].into_iter().chain(of_slots))
}
