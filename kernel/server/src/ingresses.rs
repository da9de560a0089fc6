//! What of Ingresses cannot be served as they say, told as events of theirs: a certificate or a Service that is not there.
//! Every node answers for all Ingresses, so the leader tells it, once for all of them. What is only looked at here is decided
//! by plugins on the nodes; Secrets are for no plugin to see.
use crate::{
    policies::Narrator,
    replica::{ReplicaHandle, leads},
};
use k8s_openapi::api::{
    core::v1::{Secret, Service},
    networking::v1::{Ingress, IngressBackend, IngressServiceBackend},
};
use sampan_api::{Key, Object, Selection};
use sampan_state::Snapshot;
use sampan_tls::KeyPair;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

const INGRESSES: &str = "ingresses.networking.k8s.io";
const CLASSES: &str = "ingressclasses.networking.k8s.io";

/// Whose Ingresses are ours: as the plugin `ingress` decides it.
const CLASS: &str = "sampan";
const CONTROLLER: &str = "sampan.dev/ingress";
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// Before it is looked: who makes an Ingress makes its Service and its Secret in the same breath, in any order.
const SETTLING: Duration = Duration::from_secs(1);

/// What is still wrong after so long is told again: events are forgotten.
const AGAIN: Duration = Duration::from_secs(30 * 60);

/// What is told of one Ingress at the most.
const MOST: usize = 10;

/// Something wrong, in the words of an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Doubt {
    about: Key,
    reason: &'static str,
    message: String,
}

/// Tells what is wrong with Ingresses, while this member leads, until the server closes.
pub async fn tell(replica: ReplicaHandle, narrator: Narrator, closing: CancellationToken) {
    let mut leadership = replica.leadership();
    while let Some(Some(_)) = closing.run_until_cancelled(leads(&mut leadership)).await {
        let lost = async { drop(leadership.wait_for(Option::is_none).await) };
        let leading = async {
            tokio::select! {
                () = lost => {}
                () = follow(&replica, &narrator) => {}
            }
        };
        if closing.run_until_cancelled(leading).await.is_none() {
            return;
        }
    }
}

/// Looks at all Ingresses after each change that matters, until some changes were missed.
async fn follow(replica: &ReplicaHandle, narrator: &Narrator) {
    let mut told: HashMap<Doubt, Instant> = HashMap::new();
    let mut certificates = Certificates::default();
    let resources = [INGRESSES, CLASSES, "secrets", "services"].map(str::to_owned);
    let Ok(mut changes) = replica.watch_only(replica.snapshot().revision(), resources.to_vec()) else {
        // Closed, which the caller hears of, or as good as never: the revision is forgotten already.
        return tokio::time::sleep(SETTLING).await;
    };
    loop {
        tokio::time::sleep(SETTLING).await;
        let doubts = doubts(&replica.snapshot(), &mut certificates);
        told.retain(|doubt, at| at.elapsed() < AGAIN && doubts.contains(doubt));
        for doubt in doubts {
            told.entry(doubt).or_insert_with_key(|doubt| {
                narrator.warning(&doubt.about, doubt.reason, &doubt.message);
                Instant::now()
            });
        }
        let again = async {
            match told.is_empty() {
                true => std::future::pending().await,
                false => tokio::time::sleep(AGAIN).await,
            }
        };
        tokio::select! {
            batch = changes.next() => if batch.is_none() { return },
            () = again => {}
        }
    }
}

/// What was found of Secrets, by their revision: certificates are not read again for each change of something else.
#[derive(Default)]
struct Certificates {
    known: HashMap<Key, (u64, Option<String>)>,
}

/// All that is wrong now.
fn doubts(state: &Snapshot, certificates: &mut Certificates) -> HashSet<Doubt> {
    let classes: Vec<Arc<Object>> = state.list(&Selection::of(CLASSES)).map(|(_, class)| class).collect();
    let mut all = HashSet::new();
    let mut named = BTreeSet::new();
    for (key, object) in state.list(&Selection::of(INGRESSES)) {
        let Ok(ingress) = object.typed::<Ingress>() else {
            continue;
        };
        if object.metadata.deletion_timestamp.is_some() || !is_ours(&ingress, &classes) {
            continue;
        }
        let found = of_secrets(&key, &ingress, state, certificates, &mut named);
        let found = found.into_iter().chain(of_services(&key, &ingress, state));
        all.extend(found.take(MOST));
    }
    certificates.known.retain(|key, _| named.contains(key));
    all
}

fn of_secrets(
    about: &Key,
    ingress: &Ingress,
    state: &Snapshot,
    certificates: &mut Certificates,
    named: &mut BTreeSet<Key>,
) -> Vec<Doubt> {
    let tls = ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten());
    let secrets = tls
        .filter_map(|tls| tls.secret_name.as_deref())
        .filter(|name| !name.is_empty());
    let mut doubts = Vec::new();
    for name in secrets.collect::<BTreeSet<_>>() {
        let key = Key::new("secrets", &about.namespace, name);
        let doubt = |reason, message| Doubt {
            about: about.clone(),
            reason,
            message,
        };
        match state.get(&key) {
            None => {
                let message = format!("no certificate is shown: the Secret \"{name}\" is not there");
                doubts.push(doubt("SecretMissing", message));
            }
            Some(secret) => {
                if let Some(why) = certificates.wrong(&key, &secret) {
                    let message = format!("no new certificate is shown: the Secret \"{name}\" has none: {why}");
                    doubts.push(doubt("SecretInvalid", message));
                }
                named.insert(key);
            }
        }
    }
    doubts
}

impl Certificates {
    fn wrong(&mut self, key: &Key, secret: &Object) -> Option<String> {
        let revision = secret.metadata.resource_version;
        match self.known.get(key) {
            Some((known, wrong)) if *known == revision => wrong.clone(),
            _ => {
                let wrong = wrong(secret).err();
                self.known.insert(key.clone(), (revision, wrong.clone()));
                wrong
            }
        }
    }
}

/// Whether a node can show the certificate that is in a Secret.
fn wrong(secret: &Object) -> Result<(), String> {
    let secret: Secret = secret.typed().map_err(|error| error.message)?;
    match secret.type_.as_deref() {
        Some("kubernetes.io/tls") => {}
        other => {
            let other = other.unwrap_or("Opaque");
            return Err(format!("it is of the type {other}, and should be of kubernetes.io/tls"));
        }
    }
    let data = secret.data.unwrap_or_default();
    let text = |name: &str| match data.get(name) {
        None => Err(format!("there is no {name} in it")),
        Some(bytes) => String::from_utf8(bytes.0.clone()).map_err(|_| format!("{name} is no PEM")),
    };
    let pair = KeyPair {
        cert_pem: text("tls.crt")?,
        key_pem: text("tls.key")?,
    };
    pair.certified().map(drop).map_err(|error| {
        let field = if error.is_of_key() { "tls.key" } else { "tls.crt" };
        format!("{field}: {error}")
    })
}

fn of_services(about: &Key, ingress: &Ingress, state: &Snapshot) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    let mut seen = BTreeSet::new();
    for named in backends(ingress).filter_map(|backend| backend.service.as_ref()) {
        let port = named.port.clone().unwrap_or_default();
        let said = match (&port.name, port.number) {
            (Some(name), _) if !name.is_empty() => format!("\"{name}\""),
            (_, number) => number.unwrap_or_default().to_string(),
        };
        if !seen.insert((named.name.clone(), said.clone())) {
            continue;
        }
        let name = &named.name;
        let service = state.get(&Key::new("services", &about.namespace, name));
        let (reason, what) = match service.map(|service| service.typed::<Service>()) {
            None => ("ServiceMissing", format!("the Service \"{name}\" is not there")),
            Some(Ok(service)) if !has_port(&service, named) => {
                let what = format!("the Service \"{name}\" has no port {said} of TCP");
                ("ServicePortMissing", what)
            }
            Some(_) => continue,
        };
        doubts.push(Doubt {
            about: about.clone(),
            reason,
            message: format!("its requests are answered with 503: {what}"),
        });
    }
    doubts
}

fn backends(ingress: &Ingress) -> impl Iterator<Item = &IngressBackend> {
    ingress.spec.iter().flat_map(|spec| {
        let rules = spec.rules.iter().flatten().filter_map(|rule| rule.http.as_ref());
        let of_paths = rules.flat_map(|http| &http.paths).map(|path| &path.backend);
        spec.default_backend.iter().chain(of_paths)
    })
}

fn has_port(service: &Service, named: &IngressServiceBackend) -> bool {
    let wanted = named.port.clone().unwrap_or_default();
    let mut ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.any(|port| {
        let is_meant = match wanted.name.as_deref() {
            Some(name) if !name.is_empty() => port.name.as_deref() == Some(name),
            _ => Some(port.port) == wanted.number,
        };
        is_meant && port.protocol.as_deref().unwrap_or("TCP") == "TCP"
    })
}

fn is_ours(ingress: &Ingress, classes: &[Arc<Object>]) -> bool {
    let controls = |class: &Arc<Object>| class.field_value("spec")["controller"] == CONTROLLER;
    let spec = ingress
        .spec
        .as_ref()
        .and_then(|spec| spec.ingress_class_name.as_deref());
    let annotation = || {
        let all = ingress.metadata.annotations.as_ref()?;
        all.get(CLASS_ANNOTATION).map(String::as_str)
    };
    match spec.or_else(annotation).filter(|name| !name.is_empty()) {
        Some(name) => match classes.iter().find(|class| class.metadata.name == name) {
            Some(class) => controls(class),
            None => name == CLASS,
        },
        None => {
            let said = |class: &&Arc<Object>| {
                class
                    .metadata
                    .annotations
                    .get(DEFAULT_ANNOTATION)
                    .is_some_and(|said| said == "true")
            };
            // Of several the newest, and then the first by name.
            let defaults = classes.iter().rev().filter(said);
            let default = defaults.max_by_key(|class| class.metadata.creation_timestamp);
            default.is_none_or(controls)
        }
    }
}
