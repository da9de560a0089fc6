//! What the config of a Wasm artifact says of it: its kind, and the interfaces that it imports and exports.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use wasmparser::{Encoding, Parser, Payload};

use crate::digest::Digest;
use crate::error::{ImageError, Result};

/// Bytes.
const MAX_WASM: u64 = 512 << 20;
/// Names of imports or exports.
const MAX_NAMES: usize = 10_000;

/// The artifact's config, `application/vnd.wasm.config.v0+json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WasmConfig {
    created: String,
    architecture: &'static str,
    os: &'static str,
    layer_digests: [Digest; 1],
    /// Core modules have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<Interfaces>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Interfaces {
    exports: Vec<String>,
    imports: Vec<String>,
    /// The world it was written for, which a component does not tell.
    target: Option<String>,
}

/// What can be seen of a Wasm file from outside.
#[derive(Debug)]
pub(super) struct Outline(Option<Interfaces>);

impl Outline {
    pub(super) fn config(self, created: &str, layer: Digest) -> WasmConfig {
        let os = if self.0.is_some() { "wasip2" } else { "wasip1" };
        let created = created.to_owned();
        WasmConfig {
            created,
            architecture: "wasm",
            os,
            layer_digests: [layer],
            component: self.0,
        }
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error| ImageError::io("reading", path, error);
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_WASM + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_WASM {
        return Err(ImageError::too_large(path.display().to_string(), "512 MiB"));
    }
    Ok(bytes)
}

pub(super) fn outline(bytes: &[u8], path: &Path) -> Result<Outline> {
    let malformed = |reason: String| ImageError::malformed(path.display().to_string(), reason);
    let broken = |error: wasmparser::BinaryReaderError| malformed(format!("not valid WebAssembly: {error}"));
    if !bytes.starts_with(b"\0asm") {
        return Err(malformed("neither a WebAssembly component nor a module".to_owned()));
    }
    let mut interfaces: Option<Interfaces> = None;
    // Whatever is inside of the outermost module or component is its own affair.
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(broken)? {
            Payload::Version {
                encoding: Encoding::Component,
                ..
            } if depth == 0 => {
                interfaces = Some(Interfaces::default());
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let name = import.map_err(broken)?.name.name.to_owned();
                    interfaces.get_or_insert_default().imports.push(name);
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let name = export.map_err(broken)?.name.name.to_owned();
                    interfaces.get_or_insert_default().exports.push(name);
                }
            }
            _ => {}
        }
    }
    if interfaces
        .as_ref()
        .is_some_and(|found| found.imports.len() + found.exports.len() > MAX_NAMES)
    {
        return Err(malformed(format!("it has more than {MAX_NAMES} imports and exports")));
    }
    Ok(Outline(interfaces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_modules_from_components_from_rubbish() {
        let path = Path::new("x.wasm");
        let module = b"\0asm\x01\0\0\0";
        assert!(outline(module, path).unwrap().0.is_none());
        let component = b"\0asm\x0d\0\x01\0";
        assert_eq!(outline(component, path).unwrap().0, Some(Interfaces::default()));
        for rubbish in [&b""[..], b"\x7fELF", b"\0asm\x01\0\0\0\xff\xff"] {
            assert!(outline(rubbish, path).is_err(), "{rubbish:?}");
        }
    }
}
