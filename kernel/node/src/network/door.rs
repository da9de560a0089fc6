//! The ingress of this node, as plugins want it: it is opened when the first Ingress names a host, with the certificates that
//! Secrets hold.
use crate::{
    control::ControlPlane,
    ingress::{Filters, Ingress, IngressConfig, Table},
};
use parking_lot::Mutex;
use sampan_api::{ApiError, Key, Object};
use sampan_sandbox::ingress::{Routing, Secret, Table as InTable};
use sampan_tls::KeyPair;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{runtime::Handle, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

/// How often Secrets are looked at again.
const EVERY: Duration = Duration::from_secs(30);

/// What a request that is under way is given when the ingress ends.
const CLOSING: Duration = Duration::from_secs(1);

/// Where the ingress is to be served; nowhere where these are empty.
#[derive(Clone, Debug, Default)]
pub struct Places {
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
}

/// The door.
pub struct Door {
    places: Places,
    filters: Arc<dyn Filters>,
    runtime: Handle,
    ingress: Arc<Mutex<Option<Arc<Ingress>>>>,
    /// The Secrets that the table names.
    secrets: watch::Sender<BTreeSet<Secret>>,
    /// What was said of why it cannot be opened.
    told: Option<String>,
    end: CancellationToken,
}

impl Door {
    /// A closed one. Call within a tokio runtime.
    pub fn new(places: Places, plane: ControlPlane, filters: Arc<dyn Filters>) -> Self {
        let (secrets, wanted) = watch::channel(BTreeSet::new());
        let door = Door {
            places,
            filters,
            runtime: Handle::current(),
            ingress: Arc::default(),
            secrets,
            told: None,
            end: CancellationToken::new(),
        };
        let keep = keep_certificates(door.ingress.clone(), plane, wanted);
        tokio::spawn(door.end.clone().run_until_cancelled_owned(keep));
        door
    }

    /// From now on this is what is wanted. Tried again while it cannot be opened.
    pub fn set(&mut self, routing: &Routing) {
        let open = self.ingress.lock().is_some();
        if !open && routing.count(InTable::Hosts) == 0 {
            return;
        }
        if !open {
            self.open();
        }
        if let Some(ingress) = &*self.ingress.lock() {
            let table = Table::of(routing);
            let secrets: BTreeSet<Secret> = table.secrets().cloned().collect();
            ingress.set_table(Arc::new(table));
            self.secrets.send_if_modified(|known| {
                let other = *known != secrets;
                *known = secrets;
                other
            });
        }
    }

    /// Counters, with the names that Prometheus has for them; none while it is closed.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        self.ingress
            .lock()
            .as_ref()
            .map(|ingress| ingress.figures())
            .unwrap_or_default()
    }

    /// Whether it should be open and is not.
    pub fn is_stuck(&self) -> bool {
        self.told.is_some()
    }

    /// It is opened on another address of this machine, the next time that it is set.
    pub fn moved(&mut self, address: IpAddr) {
        for place in self.places.http.iter_mut().chain(&mut self.places.https) {
            if !place.ip().is_unspecified() && !place.ip().is_loopback() {
                place.set_ip(address);
            }
        }
        self.close();
    }

    fn close(&mut self) {
        if let Some(ingress) = self.ingress.lock().take() {
            let runtime = self.runtime.clone();
            // Requests under way are given a moment; the rest ends with the process.
            runtime.spawn(async move {
                if let Some(ingress) = Arc::into_inner(ingress) {
                    drop(timeout(CLOSING, ingress.shutdown()).await);
                }
            });
        }
    }

    fn open(&mut self) {
        let _runtime = self.runtime.enter();
        let mut config = IngressConfig::new(self.places.http.clone(), self.places.https.clone());
        config.filters = self.filters.clone();
        match Ingress::start(config) {
            Ok(ingress) => {
                tracing::info!(http = ?ingress.http_addresses(), https = ?ingress.https_addresses(), "the ingress is open");
                self.told = None;
                *self.ingress.lock() = Some(Arc::new(ingress));
                // Whatever was fetched before is for this one, too.
                self.secrets.send_modify(|_| ());
            }
            Err(error) => {
                let why = error.to_string();
                if self.told.as_ref() != Some(&why) {
                    tracing::error!(why, "Ingresses are not served here");
                    self.told = Some(why);
                }
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.end.cancel();
        self.close();
    }
}

/// Fetches the Secrets, when others are wanted and now and then. While the control plane is away what was fetched last stays.
async fn keep_certificates(
    ingress: Arc<Mutex<Option<Arc<Ingress>>>>,
    plane: ControlPlane,
    mut wanted: watch::Receiver<BTreeSet<Secret>>,
) {
    let mut pairs: BTreeMap<Secret, KeyPair> = BTreeMap::new();
    loop {
        let secrets = wanted.borrow_and_update().clone();
        pairs.retain(|secret, _| secrets.contains(secret));
        for secret in &secrets {
            match fetch(&plane, secret).await {
                Ok(Some(pair)) => drop(pairs.insert(secret.clone(), pair)),
                Ok(None) => drop(pairs.remove(secret)),
                Err(error) => tracing::debug!(name = secret.name, %error, "a certificate cannot be fetched now"),
            }
        }
        let open = ingress.lock().clone();
        if let Some(open) = open {
            for error in open.set_certificates(&pairs) {
                tracing::warn!(%error, "a certificate cannot be shown");
            }
        }
        // An error says that the door is gone, and this ends with it.
        let _ = timeout(EVERY, wanted.changed()).await;
    }
}

/// A Secret's certificate and key; none where there is no such thing.
async fn fetch(plane: &ControlPlane, secret: &Secret) -> Result<Option<KeyPair>, ApiError> {
    let key = Key::new("secrets", &secret.namespace, &secret.name);
    Ok(plane.get(&key).await?.as_ref().and_then(pair_of))
}

fn pair_of(secret: &Object) -> Option<KeyPair> {
    let secret: k8s_openapi::api::core::v1::Secret = secret.typed().ok()?;
    let data = secret.data?;
    let text = |name: &str| String::from_utf8(data.get(name)?.0.clone()).ok();
    Some(KeyPair {
        cert_pem: text("tls.crt")?,
        key_pem: text("tls.key")?,
    })
}
