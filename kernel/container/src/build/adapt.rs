//! Core modules for WASI preview 1, which many toolchains still make, become components: only these are run.

use std::path::Path;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Encoding, Parser, Payload};
use wit_component::ComponentEncoder;

use crate::error::{ImageError, Result};

/// What a core module is to be made of.
#[derive(Debug, PartialEq, Eq)]
enum Shape {
    /// It has a `_start`, as a program has.
    Program,
    /// It brings a description of its own interfaces, as bindings made by `wit-bindgen` do.
    Library,
    /// A component already, or a module that nothing is known of: left as it is.
    Other,
}

/// The module as a component, where it can be one; anything else as it is. The same module gives the same bytes.
pub(super) fn to_component(bytes: Vec<u8>, path: &Path) -> Result<Vec<u8>> {
    let adapter = match shape(&bytes) {
        Shape::Program => WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
        Shape::Library => WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        Shape::Other => return Ok(bytes),
    };
    let encode = || {
        ComponentEncoder::default()
            .module(&bytes)?
            .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)?
            .validate(true)
            .encode()
    };
    encode().map_err(|error| {
        let reason = format!("this core module cannot be made a component: {error:#}");
        ImageError::malformed(path.display().to_string(), reason)
    })
}

/// What does not parse is left to whoever looks at it next, who says so.
fn shape(bytes: &[u8]) -> Shape {
    let (mut starts, mut described) = (false, false);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::Version {
                encoding: Encoding::Component,
                ..
            })
            | Err(_) => return Shape::Other,
            Ok(Payload::ExportSection(section)) => {
                starts |= section.into_iter().flatten().any(|export| export.name == "_start");
            }
            Ok(Payload::CustomSection(section)) => described |= section.name().starts_with("component-type"),
            Ok(_) => {}
        }
    }
    match (starts, described) {
        (true, _) => Shape::Program,
        (false, true) => Shape::Library,
        (false, false) => Shape::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(module (import "MODULE" "f" (func)) (memory (export "memory") 1) (func (export "_start") call 0))`
    fn program(module: &str) -> Vec<u8> {
        let length = u8::try_from(module.len()).unwrap();
        let mut bytes = b"\0asm\x01\0\0\0".to_vec();
        bytes.extend(b"\x01\x04\x01\x60\0\0");
        bytes.extend([2, length + 6, 1, length]);
        bytes.extend(module.as_bytes());
        bytes.extend(b"\x01f\0\0");
        bytes.extend(b"\x03\x02\x01\0\x05\x03\x01\0\x01");
        bytes.extend(b"\x07\x13\x02\x06memory\x02\0\x06_start\0\x01");
        bytes.extend(b"\x0a\x06\x01\x04\0\x10\0\x0b");
        bytes
    }

    #[test]
    fn programs_become_components_and_the_rest_stays() {
        let path = Path::new("x.wasm");
        assert_eq!(shape(&program("wasi_snapshot_preview1")), Shape::Program);
        let alone = [
            b"\0asm\x01\0\0\0".as_slice(),
            b"\x01\x04\x01\x60\0\0\x03\x02\x01\0\x05\x03\x01\0\x01",
        ];
        let code = b"\x07\x13\x02\x06memory\x02\0\x06_start\0\0\x0a\x04\x01\x02\0\x0b".as_slice();
        let alone = [&alone.concat(), code].concat();
        let component = to_component(alone.clone(), path).unwrap();
        assert!(component.starts_with(b"\0asm\x0d\0\x01\0"));
        assert_eq!(to_component(alone, path).unwrap(), component, "whenever it is made");
        assert_eq!(to_component(component.clone(), path).unwrap(), component);
        for other in [&b"\0asm\x01\0\0\0"[..], b"rubbish", b""] {
            assert_eq!(to_component(other.to_vec(), path).unwrap(), other);
        }
    }

    #[test]
    fn a_module_that_wants_more_than_wasi_says_what() {
        let error = to_component(program("env"), Path::new("x.wasm"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("x.wasm") && error.contains("env"), "{error}");
    }
}
