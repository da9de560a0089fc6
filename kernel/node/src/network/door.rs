//! The ingress of this node, as plugins want it: it is opened when the first Ingress names a host, with the certificates that
//! Secrets hold.
use crate::{
    control::ControlPlane,
    ingress::{Filters, Ingress, IngressConfig, StartError, Table},
    whereabouts::Whereabouts,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
}

impl Places {
    /// The same ports at those of the node's addresses, too, that are of the other family. What is for this machine alone, or
    /// for all of its addresses, stays as it is.
    fn on_all(&self, addresses: &[IpAddr]) -> Places {
        let one = |place: &SocketAddr| {
            let (at, port) = (place.ip(), place.port());
            let is_known = !at.is_loopback() && !at.is_unspecified();
            let others = addresses
                .iter()
                .filter(move |other| is_known && other.is_ipv4() != at.is_ipv4());
            std::iter::once(*place).chain(others.map(move |other| SocketAddr::new(*other, port)))
        };
        Places {
            http: self.http.iter().flat_map(one).collect(),
            https: self.https.iter().flat_map(one).collect(),
        }
    }
}

/// The door.
pub struct Door {
    places: Places,
    whereabouts: Whereabouts,
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
    pub fn new(places: &Places, whereabouts: &Whereabouts, plane: &ControlPlane, filters: Arc<dyn Filters>) -> Self {
        let (secrets, wanted) = watch::channel(BTreeSet::new());
        let door = Door {
            places: places.clone(),
            whereabouts: whereabouts.clone(),
            filters,
            runtime: Handle::current(),
            ingress: Arc::default(),
            secrets,
            told: None,
            end: CancellationToken::new(),
        };
        let keep = keep_certificates(door.ingress.clone(), plane.clone(), wanted);
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
        let all = self.places.on_all(&self.whereabouts.all());
        match start(&self.places, &all, &self.filters) {
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

/// At all places, or at fewer where not all can be had: what is amiss with one family keeps nobody of the other out.
fn start(few: &Places, all: &Places, filters: &Arc<dyn Filters>) -> Result<Ingress, StartError> {
    let at = |places: &Places| {
        let mut config = IngressConfig::new(places.http.clone(), places.https.clone());
        config.filters = filters.clone();
        Ingress::start(config)
    };
    at(all).or_else(|error| {
        if all == few {
            return Err(error);
        }
        let ingress = at(few)?;
        tracing::warn!(%error, "Ingresses are served here in one family alone until the node starts again");
        Ok(ingress)
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::NoFilters;

    #[tokio::test]
    async fn where_one_family_cannot_be_had_the_other_is_served() {
        let places = |texts: &[&str]| Places {
            http: texts.iter().map(|text| text.parse().unwrap()).collect(),
            https: Vec::new(),
        };
        let filters: Arc<dyn Filters> = Arc::new(NoFilters);
        // An address of nobody's.
        let (few, all) = (places(&["127.0.0.1:0"]), places(&["127.0.0.1:0", "[2001:db8::1]:0"]));
        let ingress = start(&few, &all, &filters).unwrap();
        assert_eq!(ingress.http_addresses().len(), 1);
        assert!(ingress.http_addresses()[0].is_ipv4());
        let taken = Places {
            http: ingress.http_addresses().to_vec(),
            https: Vec::new(),
        };
        assert!(start(&taken, &all, &filters).is_err());
        let error = start(&taken, &taken, &filters).err().unwrap().to_string();
        assert!(error.contains("cannot listen on 127.0.0.1"), "{error}");
        ingress.shutdown().await;
    }

    #[test]
    fn it_is_at_the_nodes_addresses_of_both_families() {
        let places = |http: &[&str], https: &[&str]| {
            let read = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
            Places {
                http: read(http),
                https: read(https),
            }
        };
        let addresses: [IpAddr; 2] = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap());
        let v4 = places(&["192.0.2.1:80"], &["192.0.2.1:443"]);
        let both = places(
            &["192.0.2.1:80", "[2001:db8::1]:80"],
            &["192.0.2.1:443", "[2001:db8::1]:443"],
        );
        assert_eq!(v4.on_all(&addresses), both);
        assert_eq!(v4.on_all(&addresses[..1]), v4);
        let none = places(&[], &["192.0.2.1:443"]);
        assert_eq!(none.on_all(&addresses).http, []);
        for own in ["127.0.0.1:80", "0.0.0.0:80", "[::]:80"] {
            let own = places(&[own], &[]);
            assert_eq!(own.on_all(&addresses), own);
        }
    }
}
