//! What the binary carries in itself: the built-in plugins, the shim, the demo's images, and what policies are written with.
//!
//! All of it is built by `build.rs` from `plugins/`, `kernel/shim` and `images/`.

/// A name and the component's bytes.
pub type Component = (&'static str, &'static [u8]);

/// The built-in policies. `scheduler`, `spread` and `binpack` are schedulers, `routes`, `service` and `network-policy` decide about the
/// network, `ingress` about requests from outside, `ipam` about pods' addresses, the others are controllers.
pub static PLUGINS: &[Component] = include!(concat!(env!("OUT_DIR"), "/plugins.rs"));

/// Policies that misbehave, each in one way: what the demo and the tests show the sandbox with.
pub static HOSTILE: &[Component] = include!(concat!(env!("OUT_DIR"), "/hostile.rs"));

/// Policies that a cluster does not begin with; nothing of them is in a binary that does not name them.
pub static OTHERS: &[Component] = include!(concat!(env!("OUT_DIR"), "/others.rs"));

/// A file's path in the repository, and its text.
pub type Source = (&'static str, &'static str);

/// The SDK, its worlds and their contracts: what `sampan plugin new` hands out.
pub static SDK: &[Source] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// The pod shim: a static binary for this machine.
pub static SHIM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sampan-shim"));

/// The demo's container: a static web server.
pub static WEB: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/web"));

/// The demo's wasi:http component.
pub static HELLO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello.wasm"));

/// A filter that stands before Ingresses; it is in no binary that does not name it.
pub static GATE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gate.wasm"));

/// The demo's wasi:cli command.
pub static PRIMES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/primes.wasm"));

/// A component of one of the tables.
pub fn component(table: &[Component], name: &str) -> Option<&'static [u8]> {
    table.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}
