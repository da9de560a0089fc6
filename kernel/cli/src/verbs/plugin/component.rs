//! A plugin's file: a component, or the core module that Rust and C compilers make, which becomes one here.
use crate::progress::size;
use anyhow::{Context, Result, bail};
use std::{fs::File, io::Read, path::Path};

/// The largest component that is sent. Bytes.
const MAX_PLUGIN: u64 = 64 << 20;

/// How a core module begins.
const CORE: &[u8] = b"\0asm\x01\0\0\0";

/// The bytes of a file that is to be sent.
///
/// # Errors
/// If it cannot be read, or is too large.
pub fn bytes(path: &Path) -> Result<Vec<u8>> {
    let what = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .with_context(what)?
        .take(MAX_PLUGIN + 1)
        .read_to_end(&mut bytes)
        .with_context(what)?;
    if bytes.len() as u64 > MAX_PLUGIN {
        bail!(
            "{} is larger than {}, the limit for plugins",
            path.display(),
            size(MAX_PLUGIN)
        );
    }
    Ok(bytes)
}

/// A component. A core module that says of itself which world it is for is made one, as `wasm-tools component new` does.
///
/// # Errors
/// If it cannot be read, or is a core module that says nothing or imports more than its world has. What else is wrong with
/// it is said by who compiles it.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = bytes(path)?;
    if !bytes.starts_with(CORE) || !describes_itself(&bytes) {
        return Ok(bytes);
    }
    let encoded = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|encoder| encoder.encode());
    encoded.with_context(|| {
        format!(
            "{} is a core module that cannot be made a component: a policy imports nothing but its world, no WASI either",
            path.display()
        )
    })
}

/// Whether a core module carries its world, as generated bindings let it.
fn describes_itself(module: &[u8]) -> bool {
    let name = b"component-type:";
    module.windows(name.len()).any(|window| window == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_modules_that_say_their_world_are_made_components() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.wasm");
        let written = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            read(&file)
        };
        assert_eq!(written(b"rubbish").unwrap(), b"rubbish", "said by who compiles it");
        assert_eq!(written(CORE).unwrap(), CORE);
        let section = [CORE, b"\0\x13\x10component-type:xy"].concat();
        let error = format!("{:#}", written(&section).unwrap_err());
        assert!(error.contains("cannot be made a component"), "{error}");
        assert!(format!("{:#}", read(&dir.path().join("none")).unwrap_err()).contains("cannot read"));
    }
}
