//! What the control plane says of the network, brought to all who want to know: the worker, the DNS, and whoever starts
//! containers.
use super::worker::Input;
use crate::{
    control::{Change, ControlPlane, follow},
    dns::Dns,
};
use k8s_openapi::api::core::v1::Service;
use parking_lot::RwLock;
use sampan_api::{DEFAULT_NAMESPACE, Key, plugin, rpc::Selection};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, mpsc::Sender},
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

/// The resources that nodes always follow.
pub const ALWAYS: [&str; 4] = ["nodes", "services", "endpointslices.discovery.k8s.io", plugin::RESOURCE];

/// The Services of the cluster, for the variables that containers are told of them in.
#[derive(Default)]
pub struct Services {
    known: RwLock<BTreeMap<Key, Service>>,
}

impl Services {
    /// Those of a namespace, and `default/kubernetes`.
    pub fn of(&self, namespace: &str) -> Vec<Service> {
        let known = self.known.read();
        let told = known.iter().filter(|(key, _)| {
            *key.namespace == *namespace || (&*key.namespace, &*key.name) == (DEFAULT_NAMESPACE, "kubernetes")
        });
        told.map(|(_, service)| service.clone()).collect()
    }

    fn take(&self, change: &Change) {
        match change {
            Change::Seen(object) => {
                if let (Ok(key), Ok(service)) = (object.key(), object.typed()) {
                    self.known.write().insert(key, service);
                }
            }
            Change::Gone(object) => {
                if let Ok(key) = object.key() {
                    self.known.write().remove(&key);
                }
            }
            Change::Synced(uids) => self.known.write().retain(|_, service| is_among(service, uids)),
        }
    }
}

fn is_among(service: &Service, uids: &HashSet<String>) -> bool {
    service.metadata.uid.as_ref().is_some_and(|uid| uids.contains(uid))
}

/// What is followed, and who is told.
pub struct Feeds {
    plane: ControlPlane,
    runtime: Handle,
    told: Arc<Told>,
    followed: HashSet<String>,
    /// What is followed ends with this.
    end: CancellationToken,
}

impl Drop for Feeds {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// Those who are told.
pub struct Told {
    pub inputs: Sender<Input>,
    pub dns: Option<Arc<Dns>>,
    pub services: Arc<Services>,
    /// Whether all Services were told of once.
    pub synced: watch::Sender<bool>,
}

impl Told {
    fn tell(&self, resource: &str, change: Change) {
        if let Some(dns) = &self.dns {
            match &change {
                Change::Seen(object) => dns.changed(object),
                Change::Gone(object) => {
                    if let Ok(key) = object.key() {
                        dns.gone(&key);
                    }
                }
                Change::Synced(uids) => dns.synced(resource, uids),
            }
        }
        if resource == "services" {
            self.services.take(&change);
            if matches!(change, Change::Synced(_)) {
                self.synced.send_replace(true);
            }
        }
        let resource = resource.to_owned();
        let _ = self.inputs.send(Input::Change { resource, change });
    }
}

impl Feeds {
    /// Begins with what nodes always follow. Call within a tokio runtime.
    pub fn start(plane: ControlPlane, told: Told) -> Self {
        let mut feeds = Feeds {
            plane,
            runtime: Handle::current(),
            told: Arc::new(told),
            followed: HashSet::new(),
            end: CancellationToken::new(),
        };
        ALWAYS.into_iter().for_each(|resource| feeds.want(resource));
        feeds
    }

    /// Follows a resource, if it does not yet.
    pub fn want(&mut self, resource: &str) {
        if !self.followed.insert(resource.to_owned()) {
            return;
        }
        let selection = Selection {
            resource: resource.to_owned(),
            ..Selection::default()
        };
        let (changes, mut receiver) = mpsc::channel(64);
        let (plane, told, resource) = (self.plane.clone(), self.told.clone(), resource.to_owned());
        let pass_on = async move {
            while let Some(change) = receiver.recv().await {
                told.tell(&resource, change);
            }
        };
        let follows = futures::future::join(follow(plane, selection, changes), pass_on);
        self.runtime.spawn(self.end.clone().run_until_cancelled_owned(follows));
    }
}
