//! The generated contract of the world `scheduler`: see `wit/scheduler`.
#![allow(clippy::all, missing_docs)]
wit_bindgen::generate!({
    path: ["../../../wit/lifecycle", "../../../wit/scheduler"],
    world: "sampan:scheduler/scheduler",
    pub_export_macro: true,
    export_macro_name: "export_world",
    default_bindings_module: "world_scheduler",
    additional_derives: [PartialEq, Clone],
});
