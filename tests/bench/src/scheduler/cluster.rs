//! A control plane as a process, nodes that are only objects, and a client that makes pods and watches them bound.
use super::{
    cases::{Before, Case, Churn},
    shapes,
};
use crate::peer::{Store, sampan::Sampan};
use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use sampan_api::rpc::{self, write::Operation};
use sampan_cli::session::{Session, Writer};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    ops::Range,
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// Writes under way at a time.
const UNDER_WAY: usize = 2000;
/// So many pods wait at the most until they are seen bound: whoever makes a million of them reads what became of them, too, and
/// a watch does not fall behind the events that are kept.
const AHEAD: usize = 20_000;
/// While pods are waited for something happens so often.
const PATIENCE: Duration = Duration::from_secs(60);

/// When each pod was bound, by its number.
pub type Bound = Vec<Instant>;

pub struct Cluster {
    pub store: Sampan,
    session: Session,
    writer: Writer,
}

fn key(resource: &str, namespace: &str, name: &str) -> Option<rpc::Key> {
    Some(rpc::Key {
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

fn write(key: Option<rpc::Key>, operation: Operation) -> rpc::Write {
    rpc::Write {
        key,
        expect: 0,
        operation: Some(operation),
    }
}

fn create(resource: &str, namespace: &str, name: &str, object: &Value) -> rpc::Plan {
    let operation = Operation::Create(object.to_string().into());
    rpc::Plan {
        writes: vec![write(key(resource, namespace, name), operation)],
    }
}

/// Makes the JSON of many pods of one shape without building each.
pub struct Template(String, String);

impl Template {
    fn new(pod: Value, namespace: &str) -> Result<Self> {
        const NAME: &str = "the-name-goes-here";
        let text = shapes::named(pod, namespace, NAME).to_string();
        let (head, tail) = text.split_once(NAME).context("a pod without a name")?;
        Ok(Template(head.to_owned(), tail.to_owned()))
    }

    fn plan(&self, namespace: &str, name: &str) -> rpc::Plan {
        let json = [&self.0, name, &self.1].concat();
        rpc::Plan {
            writes: vec![write(key("pods", namespace, name), Operation::Create(json.into()))],
        }
    }
}

impl Cluster {
    /// With the nodes of a case, and the pods that lie there before.
    pub async fn start(case: &Case, nodes: usize) -> Result<Self> {
        let cluster = Self::empty().await?;
        cluster.nodes(case, 0..nodes).await?;
        for before in case.before {
            cluster.before(before, nodes).await?;
        }
        Ok(cluster)
    }

    pub async fn empty() -> Result<Self> {
        let store = Sampan::start(1).await?;
        let session = store.session(0)?;
        let writer = session.writer();
        let cluster = Cluster { store, session, writer };
        for namespace in [shapes::BEFORE, shapes::MEASURED] {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            cluster.commit(create("namespaces", "", namespace, &object)).await?;
        }
        Ok(cluster)
    }

    pub async fn nodes(&self, case: &Case, numbers: Range<usize>) -> Result<()> {
        let make = async |number: usize| {
            let zone = case.zones.get(number % case.zones.len().max(1)).copied();
            self.commit(node(&name_of_node(number), zone)).await
        };
        self.all(numbers, make).await
    }

    pub async fn commit(&self, plan: rpc::Plan) -> Result<()> {
        self.writer.commit(plan).await?;
        Ok(())
    }

    async fn all(&self, numbers: Range<usize>, write: impl AsyncFn(usize) -> Result<()>) -> Result<()> {
        let writes = stream::iter(numbers).map(|number| write(number));
        writes.buffer_unordered(UNDER_WAY).try_collect().await
    }

    /// The pods that are there before.
    async fn before(&self, before: &Before, nodes: usize) -> Result<()> {
        let count = (nodes as f64 * before.for_a_node).ceil() as usize;
        let template = Template::new((before.pod)(), shapes::BEFORE)?;
        let seen = self.watch(shapes::BEFORE).await?;
        let ahead = Semaphore::new(if before.waits { count } else { AHEAD });
        let make = self.all(0..count, async |number| {
            ahead.acquire().await?.forget();
            self.commit(template.plan(shapes::BEFORE, &format!("pod-{number:07}")))
                .await
        });
        if before.waits {
            return make.await;
        }
        tokio::try_join!(make, wait(seen, 0..count, &ahead)).map(drop)
    }

    /// Watches the pods of a namespace from now on.
    pub async fn watch(&self, namespace: &str) -> Result<Watch> {
        let selection = Some(rpc::Selection {
            resource: "pods".to_owned(),
            namespace: namespace.to_owned(),
            ..rpc::Selection::default()
        });
        let list = rpc::ListRequest {
            selection: selection.clone(),
            limit: 1,
            ..rpc::ListRequest::default()
        };
        let revision = self.session.objects().list(list).await?.into_inner().revision;
        let watch = rpc::WatchRequest { selection, revision };
        Ok(Watch(self.session.objects().watch(watch).await?.into_inner()))
    }

    /// The JSON of an object of the cluster.
    pub async fn get(&self, resource: &str, name: &str) -> Result<Value> {
        let request = rpc::GetRequest {
            key: key(resource, "", name),
            ..rpc::GetRequest::default()
        };
        let object = self.session.objects().get(request).await?.into_inner();
        Ok(serde_json::from_slice(&object.json)?)
    }

    /// Makes a plugin the active one of its slot.
    pub async fn activate(&self, name: String) -> Result<()> {
        self.session.plugins().activate(rpc::PluginRequest { name }).await?;
        Ok(())
    }

    /// Measured pods of a shape.
    pub fn template(&self, pod: Value) -> Result<Template> {
        Template::new(pod, shapes::MEASURED)
    }

    /// Makes measured pods, all of them at once.
    pub async fn make(&self, template: &Template, numbers: Range<usize>) -> Result<()> {
        let make = |number| self.commit(template.plan(shapes::MEASURED, &format!("pod-{number:07}")));
        self.all(numbers, make).await
    }

    /// Makes pods as fast as it goes and watches them bound: when each was made, and when it was seen bound.
    pub async fn measure(&self, case: &Case, nodes: usize, numbers: Range<usize>) -> Result<(Vec<Instant>, Bound)> {
        let mut templates = HashMap::new();
        let distinct = (case.measured)("a") != (case.measured)("b");
        for number in 0..if distinct { nodes.min(numbers.end) } else { 1 } {
            let pod = (case.measured)(&name_of_node(number));
            templates.insert(number, Template::new(pod, shapes::MEASURED)?);
        }
        let seen = self.watch(shapes::MEASURED).await?;
        let made = parking(numbers.len());
        let ahead = Semaphore::new(AHEAD);
        let make = self.all(numbers.clone(), async |number| {
            ahead.acquire().await?.forget();
            made.lock().map_err(|_| anyhow::anyhow!("poisoned"))?[number - numbers.start] = Instant::now();
            let template = &templates[&(number % templates.len())];
            self.commit(template.plan(shapes::MEASURED, &format!("pod-{number:07}")))
                .await
        });
        let work = async { tokio::try_join!(make, wait(seen, numbers.clone(), &ahead)) };
        let bound = tokio::select! {
            done = work => done?.1,
            failed = self.churn(case.churn) => return Err(failed.err().context("the churn ended")?),
        };
        Ok((made.into_inner().map_err(|_| anyhow::anyhow!("poisoned"))?, bound))
    }

    /// Goes on for ever.
    async fn churn(&self, churn: Churn) -> Result<()> {
        let mut number = 0;
        loop {
            let pause = if churn == Churn::Unschedulable { 200 } else { 1000 };
            if churn == Churn::Nothing {
                std::future::pending::<()>().await;
            }
            let (name, last) = (format!("churn-{number}"), format!("churn-{}", number - 1));
            let pod = shapes::named(shapes::too_large(), "default", &name);
            self.commit(create("pods", "default", &name, &pod)).await?;
            if churn == Churn::Mixed {
                self.commit(node(&name, None)).await?;
                let service = json!({
                    "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
                    "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
                });
                let request = rpc::CreateRequest {
                    json: service.to_string().into(),
                    ..rpc::CreateRequest::default()
                };
                self.session.objects().create(request).await?;
                if number > 0 {
                    self.gone(&last).await?;
                }
            }
            number += 1;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn gone(&self, name: &str) -> Result<()> {
        for (resource, namespace) in [("pods", "default"), ("nodes", ""), ("services", "default")] {
            let deletion = Operation::Delete(rpc::Deletion::default());
            let writes = vec![write(key(resource, namespace, name), deletion)];
            self.commit(rpc::Plan { writes }).await?;
        }
        Ok(())
    }
}

pub fn name_of_node(number: usize) -> String {
    format!("node-{number:06}")
}

fn node(name: &str, zone: Option<&str>) -> rpc::Plan {
    let status = Operation::MergeStatus(shapes::node_status().to_string().into());
    let mut plan = create("nodes", "", name, &shapes::node(name, zone));
    plan.writes.push(write(key("nodes", "", name), status));
    plan
}

fn parking(pods: usize) -> std::sync::Mutex<Vec<Instant>> {
    std::sync::Mutex::new(vec![Instant::now(); pods])
}

/// What a client sees of the pods of a namespace.
pub struct Watch(tonic::Streaming<rpc::WatchEvent>);

/// A pod that has a node.
pub struct Seen {
    pub number: usize,
    object: rpc::Object,
}

impl Seen {
    pub fn node(&self) -> &str {
        text_of(&self.object.json, b"\"nodeName\":\"").unwrap_or_default()
    }

    /// The digest of the policy that chose the node.
    pub fn policy(&self) -> &str {
        text_of(&self.object.json, b"\"sampan.dev/scheduled-by\":\"").unwrap_or_default()
    }
}

impl Watch {
    /// The next event, if it is of a pod that has a node; an error if none comes while `left` are waited for.
    pub async fn bound(&mut self, left: usize) -> Result<Option<Seen>> {
        let next = tokio::time::timeout(PATIENCE, self.0.message()).await;
        let next = next.with_context(|| format!("{left} pods are not bound, and nothing happens for {PATIENCE:?}"))?;
        let event = next?.context("the watch ended")?;
        let Some(object) = event.object else { return Ok(None) };
        let name = object.key.as_ref().map_or("", |key| &key.name);
        let number = name.strip_prefix("pod-").context("a strange pod")?.parse()?;
        let seen = Seen { number, object };
        Ok((!seen.node().is_empty()).then_some(seen))
    }
}

/// Waits until these pods were seen bound, each once, and lets another come for each; when each was.
async fn wait(mut seen: Watch, numbers: Range<usize>, ahead: &Semaphore) -> Result<Bound> {
    let mut left = numbers.len();
    let mut bound: Vec<Option<Instant>> = vec![None; left];
    while left > 0 {
        let Some(pod) = seen.bound(left).await? else { continue };
        let place = pod.number.checked_sub(numbers.start).and_then(|at| bound.get_mut(at));
        let place = place.context("a pod too many")?;
        if place.is_none() {
            *place = Some(Instant::now());
            left -= 1;
            ahead.add_permits(1);
        }
    }
    Ok(bound.into_iter().flatten().collect())
}

/// The text that follows in a JSON object, without reading all of it.
fn text_of<'a>(json: &'a [u8], field: &[u8]) -> Option<&'a str> {
    let at = json.windows(field.len()).position(|window| window == field)? + field.len();
    let end = json[at..].iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&json[at..at + end]).ok()
}
