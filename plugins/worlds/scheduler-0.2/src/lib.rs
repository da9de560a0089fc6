//! The generated contract of the world `scheduler`, second edition: see `wit/scheduler/0.2`.
#![allow(clippy::all, missing_docs)]
wit_bindgen::generate!({
    path: ["../../../wit/lifecycle", "../../../wit/scheduler/0.2"],
    world: "sampan:scheduler/scheduler",
    pub_export_macro: true,
    export_macro_name: "export_world",
    default_bindings_module: "world_scheduler_02",
    additional_derives: [PartialEq, Eq, PartialOrd, Ord, Hash, Clone, serde::Serialize, serde::Deserialize],
});
