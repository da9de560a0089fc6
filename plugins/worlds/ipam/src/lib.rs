//! The generated contract of the world `ipam`: see `wit/ipam`.
#![allow(clippy::all, missing_docs)]

wit_bindgen::generate!({
    path: ["../../../wit/lifecycle", "../../../wit/ipam"],
    world: "sampan:ipam/ipam",
    pub_export_macro: true,
    export_macro_name: "export_world",
    default_bindings_module: "world_ipam",
    additional_derives: [PartialEq, Eq, Clone],
});
