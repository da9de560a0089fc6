//! Plugins of the world `controller`.
mod plan;

pub use plan::{ControllerPlan, PolicyEvent};

use crate::{
    CallError, Description, Figures,
    instance::{Data, Instance, World, world},
};
use bindings::beside::{Beside, BesidePre};
use sampan_api::{Key, Object};
use std::sync::Arc;
use wasmtime::{
    Store,
    component::{HasSelf, InstancePre, Linker, Resource},
};

mod bindings {
    #![allow(missing_docs, clippy::all, rust_2018_idioms)]
    wasmtime::component::bindgen!({
        path: ["../../wit/lifecycle", "../../wit/controller"],
        world: "sampan:controller/controller",
        additional_derives: [PartialEq, Clone],
        with: { "sampan:controller/reader.snapshot": super::SnapshotResource },
    });

    /// What a controller may export besides.
    pub mod beside {
        wasmtime::component::bindgen!({
            inline: "package sampan:beside; world beside { export sampan:controller/selection@0.1.0; }",
            path: ["../../wit/lifecycle", "../../wit/controller"],
            world: "sampan:beside/beside",
        });
    }
}
use bindings::sampan::controller::{reader, types};

/// How a change of what is watched names keys.
pub use types::Mapping;
/// What makes the kernel call a controller.
pub use types::Watch;

/// What a list selects; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// `*` is every resource.
    pub resource: String,
    pub namespace: Option<String>,
    /// An owner's uid.
    pub owner: Option<String>,
    /// The node that a pod is bound to; nothing but pods then.
    pub on_node: Option<String>,
    pub labels: Vec<(String, String)>,
}

/// The state at one revision, as the kernel lends it for a call.
pub trait SnapshotReader: Send + Sync {
    fn revision(&self) -> u64;
    fn get(&self, key: &Key) -> Option<Arc<Object>>;
    fn list(&self, query: &Query) -> Vec<(Key, Arc<Object>)>;
    fn count(&self, query: &Query) -> u32;
}

/// The only snapshot a guest can name is the one of the call it is in.
pub struct SnapshotResource;

/// What the imports need: the snapshot of the call, while there is one.
#[derive(Default)]
pub struct Imports {
    reader: Option<Arc<dyn SnapshotReader>>,
}

impl Imports {
    fn reader(&self) -> wasmtime::Result<&dyn SnapshotReader> {
        self.reader
            .as_deref()
            .ok_or_else(|| wasmtime::Error::msg("a snapshot was read outside of a call"))
    }
}

impl types::Host for Imports {}
impl reader::Host for Imports {}

impl reader::HostSnapshot for Imports {
    fn revision(&mut self, _: Resource<SnapshotResource>) -> u64 {
        self.reader.as_ref().map_or(0, |reader| reader.revision())
    }

    fn get(&mut self, _: Resource<SnapshotResource>, key: types::Key) -> Option<types::Object> {
        let key = plan::kernel_key(&key);
        let object = self.reader().ok()?.get(&key)?;
        Some(guest_object(&key, &object))
    }

    fn list(&mut self, _: Resource<SnapshotResource>, query: types::Query) -> Vec<types::Object> {
        let objects = self
            .reader()
            .map(|reader| reader.list(&kernel_query(query)))
            .unwrap_or_default();
        objects.iter().map(|(key, object)| guest_object(key, object)).collect()
    }

    fn count(&mut self, _: Resource<SnapshotResource>, query: types::Query) -> u32 {
        self.reader()
            .map(|reader| reader.count(&kernel_query(query)))
            .unwrap_or_default()
    }

    fn drop(&mut self, _: Resource<SnapshotResource>) -> wasmtime::Result<()> {
        Ok(())
    }
}

fn kernel_query(query: types::Query) -> Query {
    let labels = query.labels.into_iter().map(|label| (label.key, label.value)).collect();
    Query {
        resource: query.resource,
        namespace: query.namespace,
        owner: query.owner,
        on_node: query.on_node,
        labels,
    }
}

fn guest_object(key: &Key, object: &Object) -> types::Object {
    let json = String::from_utf8(object.to_json()).unwrap_or_default();
    types::Object {
        key: plan::guest_key(key),
        revision: object.metadata.resource_version,
        json,
    }
}

world!(Controller, ControllerPre, Imports, |linker| {
    bindings::Controller::add_to_linker::<_, HasSelf<Imports>>(linker, |data: &mut Data<Imports>| &mut data.imports)
});

/// The contract with what may be exported beside it.
pub(crate) struct ControllerWorld {
    controller: bindings::Controller,
    beside: Option<Beside>,
}

/// A component that keeps it.
pub(crate) struct ControllerPre {
    controller: bindings::ControllerPre<Data<Imports>>,
    beside: Option<BesidePre<Data<Imports>>>,
}

const SELECTION: &str = "sampan:controller/selection@0.1.0";

impl World for ControllerWorld {
    type Imports = Imports;
    type Pre = ControllerPre;

    fn grant(linker: &mut Linker<Data<Imports>>) -> wasmtime::Result<()> {
        bindings::Controller::grant(linker)
    }

    fn check(pre: InstancePre<Data<Imports>>) -> wasmtime::Result<Self::Pre> {
        let selects = pre.component().get_export_index(None, SELECTION).is_some();
        Ok(ControllerPre {
            beside: selects.then(|| BesidePre::new(pre.clone())).transpose()?,
            controller: bindings::ControllerPre::new(pre)?,
        })
    }

    fn instantiate(pre: &Self::Pre, store: &mut Store<Data<Imports>>) -> wasmtime::Result<Self> {
        let instance = pre.controller.instance_pre().instantiate(&mut *store)?;
        Ok(ControllerWorld {
            controller: bindings::Controller::new(&mut *store, &instance)?,
            beside: pre
                .beside
                .as_ref()
                .map(|_| Beside::new(&mut *store, &instance))
                .transpose()?,
        })
    }

    fn configure(&self, store: &mut Store<Data<Imports>>, config: &str) -> wasmtime::Result<Result<(), String>> {
        World::configure(&self.controller, store, config)
    }

    fn describe(&self, store: &mut Store<Data<Imports>>) -> wasmtime::Result<Description> {
        World::describe(&self.controller, store)
    }
}

/// An instance of a controller.
pub struct ControllerPlugin(pub(crate) Instance<ControllerWorld>);

impl ControllerPlugin {
    /// What it wants to be called for.
    ///
    /// # Errors
    /// What it failed with.
    pub fn watches(&mut self) -> Result<Vec<Watch>, CallError> {
        let policy = self.0.world.controller.sampan_controller_policy();
        self.0.guarded.call(|store| policy.call_watches(store))
    }

    /// The resources that its own objects choose by labels.
    ///
    /// # Errors
    /// What it failed with.
    pub fn selects(&mut self) -> Result<Vec<String>, CallError> {
        let Some(beside) = &self.0.world.beside else {
            return Ok(Vec::new());
        };
        let selection = beside.sampan_controller_selection();
        self.0.guarded.call(|store| selection.call_selects(store))
    }

    /// Lets it decide for keys, on a snapshot, at a time in milliseconds of Unix time.
    ///
    /// # Errors
    /// What it failed with; `Refused` with its own words leaves the instance as it was.
    pub fn reconcile(
        &mut self,
        keys: &[Key],
        reader: Arc<dyn SnapshotReader>,
        now_ms: u64,
    ) -> Result<ControllerPlan, CallError> {
        let policy = self.0.world.controller.sampan_controller_policy();
        let keys: Vec<types::Key> = keys.iter().map(plan::guest_key).collect();
        self.0.guarded.store.data_mut().imports.reader = Some(reader);
        // Borrowed for the call: the guest cannot keep it.
        let result = self
            .0
            .guarded
            .call(|store| policy.call_reconcile(store, &keys, Resource::new_borrow(0), now_ms));
        self.0.guarded.store.data_mut().imports.reader = None;
        let answer = result?.map_err(CallError::refused)?;
        plan::kernel_plan(answer).map_err(|what| self.0.guarded.rubbish(what))
    }

    pub fn figures(&self) -> Figures {
        self.0.guarded.figures()
    }
}
