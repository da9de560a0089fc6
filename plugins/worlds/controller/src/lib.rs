//! The generated contract of the world `controller`: see `wit/controller`.
#![allow(clippy::all, missing_docs)]
wit_bindgen::generate!({
    path: ["../../../wit/lifecycle", "../../../wit/controller"],
    world: "sampan:controller/selecting",
    pub_export_macro: true,
    export_macro_name: "export_world",
    default_bindings_module: "world_controller",
    additional_derives: [PartialEq, Clone],
});
