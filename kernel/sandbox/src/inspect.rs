//! What a component is and asks for.
use crate::{
    LoadError,
    cache::digest_of,
    compiler::CompileError,
    engine::{Limits, PluginEngine},
};
use sampan_api::plugin::World;
use wasmtime::component::Component;

/// A component's own words about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    pub name: String,
    pub version: String,
    pub summary: String,
}

impl Description {
    /// A line each, whatever it says.
    pub(crate) fn bounded(name: String, version: String, summary: String) -> Self {
        let line = |text: String, most: usize| text.chars().filter(|c| !c.is_control()).take(most).collect();
        Description {
            name: line(name, 63),
            version: line(version, 63),
            summary: line(summary, 256),
        }
    }
}

/// What a component is, whether or not it could be loaded.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    pub digest: String,
    pub size: usize,
    pub world: Option<World>,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    pub description: Description,
    /// Why it could not be loaded; empty if it could.
    pub problems: Vec<String>,
}

/// A contract that a plugin keeps: a world in one of its editions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contract {
    pub world: World,
    /// What a component exports that keeps it.
    policy: &'static str,
    /// What it may import.
    may_import: &'static [&'static str],
}

/// All that are known; of a world's editions the newest first.
const CONTRACTS: [Contract; 7] = [
    Contract {
        world: World::Scheduler,
        policy: "sampan:scheduler/policy@0.2.0",
        may_import: &["sampan:scheduler/types@0.2.0"],
    },
    FORMER_SCHEDULER,
    Contract {
        world: World::Controller,
        policy: "sampan:controller/policy@0.1.0",
        may_import: &["sampan:controller/types@0.1.0", "sampan:controller/reader@0.1.0"],
    },
    Contract {
        world: World::Network,
        policy: "sampan:network/policy@0.1.0",
        may_import: &["sampan:network/types@0.1.0"],
    },
    Contract {
        world: World::Ingress,
        policy: "sampan:ingress/policy@0.1.0",
        may_import: &["sampan:ingress/types@0.1.0", "sampan:network/types@0.1.0"],
    },
    Contract {
        world: World::Ipam,
        policy: "sampan:ipam/policy@0.1.0",
        may_import: &["sampan:ipam/types@0.1.0"],
    },
    Contract {
        world: World::Filter,
        policy: "wasi:http/incoming-handler@0.2",
        may_import: FILTERS_IMPORT,
    },
];

/// What filters may import, whatever the patch of WASI 0.2. There is no file, no socket and no terminal in it, but standard
/// libraries ask for all of it.
const FILTERS_IMPORT: &[&str] = &[
    "wasi:http/",
    "wasi:io/",
    "wasi:clocks/",
    "wasi:random/",
    "wasi:cli/",
    "wasi:filesystem/",
    "wasi:sockets/",
];

const FORMER_SCHEDULER: Contract = Contract {
    world: World::Scheduler,
    policy: "sampan:scheduler/policy@0.1.0",
    may_import: &["sampan:scheduler/types@0.1.0"],
};

impl Contract {
    /// Whether it is an edition before the one that the kernel speaks.
    pub fn is_former(&self) -> bool {
        *self == FORMER_SCHEDULER
    }

    /// Names of WASI go on with a patch, which is no matter; ours are exact.
    fn is_kept_by(&self, export: &str) -> bool {
        match self.world {
            World::Filter => export.starts_with(self.policy),
            _ => export == self.policy,
        }
    }

    fn lets_in(&self, import: &str) -> bool {
        match self.world {
            World::Filter => {
                let known = self.may_import.iter().any(|prefix| import.starts_with(prefix));
                known && import.contains("@0.2.")
            }
            _ => self.may_import.contains(&import),
        }
    }
}

/// The bytes as a component.
///
/// # Errors
/// If they are none, or too many.
pub fn component(engine: &PluginEngine, bytes: &[u8], limits: &Limits) -> Result<Component, LoadError> {
    if bytes.len() > limits.component {
        return Err(LoadError::TooLarge {
            size: bytes.len(),
            limit: limits.component,
        });
    }
    if !bytes.starts_with(b"\0asm") {
        let reason = "they do not begin as WebAssembly does".to_owned();
        return Err(LoadError::NotAComponent {
            size: bytes.len(),
            reason,
        });
    }
    if bytes.get(4..8) == Some(&[1, 0, 0, 0]) {
        return Err(LoadError::CoreModule);
    }
    let compiled = engine.cache().get(engine.engine(), bytes, &digest_of(bytes));
    compiled.map_err(|error| match error {
        CompileError::Refused(reason) => LoadError::NotAComponent {
            size: bytes.len(),
            reason,
        },
        CompileError::Failed(reason) => LoadError::NotCompiled { reason },
    })
}

/// The names a component imports and exports.
pub fn names(engine: &PluginEngine, component: &Component) -> (Vec<String>, Vec<String>) {
    let ty = component.component_type();
    let imports = ty.imports(engine.engine()).map(|(name, _)| name.to_owned()).collect();
    let exports = ty.exports(engine.engine()).map(|(name, _)| name.to_owned()).collect();
    (imports, exports)
}

/// The contract, if what it imports is let in there.
///
/// # Errors
/// If there is none, or an import is not granted.
pub fn contract(imports: &[String], exports: &[String]) -> Result<Contract, LoadError> {
    let found = CONTRACTS
        .into_iter()
        .find(|contract| exports.iter().any(|export| contract.is_kept_by(export)));
    let Some(contract) = found else {
        let exports = if exports.is_empty() {
            "nothing at all".to_owned()
        } else {
            exports.join(", ")
        };
        let known = CONTRACTS.map(|contract| contract.policy).join(" or ");
        return Err(LoadError::NoWorld { known, exports });
    };
    match imports.iter().find(|import| !contract.lets_in(import)) {
        Some(import) => Err(LoadError::Import {
            import: import.clone(),
            world: contract.world.to_string(),
        }),
        None => Ok(contract),
    }
}

impl PluginEngine {
    /// What a component is; it is only run to describe itself, under the limits of its world.
    pub fn inspect(self: &std::sync::Arc<Self>, bytes: &[u8]) -> Inspection {
        let mut inspection = Inspection {
            digest: digest_of(bytes),
            size: bytes.len(),
            ..Inspection::default()
        };
        let limits = Limits::default();
        let component = match component(self, bytes, &limits) {
            Ok(component) => component,
            Err(error) => {
                inspection.problems.push(error.to_string());
                return inspection;
            }
        };
        (inspection.imports, inspection.exports) = names(self, &component);
        match contract(&inspection.imports, &inspection.exports) {
            Err(error) => inspection.problems.push(error.to_string()),
            Ok(contract) => {
                inspection.world = Some(contract.world);
                match self.load_component(contract, &component, &serde_json::Value::Null, limits) {
                    Ok(loaded) => inspection.description = loaded.description().clone(),
                    Err(error) => inspection.problems.push(error.to_string()),
                }
            }
        }
        inspection
    }
}
