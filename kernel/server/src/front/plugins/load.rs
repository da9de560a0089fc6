//! Loading a plugin: its bytes are gathered within a limit, tried out aside, kept, and named by an object that stands by.
use super::Plugins;
use crate::features::{self, Feature};
use bytes::{Bytes, BytesMut};
use sampan_api::{
    ApiError, Cause, Key, Object, Operation, Plan, Reason, Write, kinds,
    plugin::{self, Mode, PluginSpec, PluginStatus, World},
    rpc, validate,
};
use sampan_sandbox::{Description, Limits, LoadError};
use serde_json::Value;
use tonic::Streaming;

const MAX_BYTES: usize = 64 << 20;

/// What a client sent: the header, and all of the bytes.
struct Sent {
    header: rpc::PluginHeader,
    bytes: Bytes,
    digest: String,
}

/// What was asked for, and the component's own words.
struct Tried {
    spec: PluginSpec,
    description: Description,
}

async fn gather(mut pieces: Streaming<rpc::PluginChunk>) -> Result<Sent, ApiError> {
    let mut header = None;
    let mut bytes = BytesMut::new();
    while let Some(piece) = pieces.message().await.map_err(ApiError::from)? {
        match (piece.header, &header) {
            (Some(first), None) => header = Some(first),
            (None, Some(_)) => {}
            (None, None) => {
                return Err(ApiError::bad_request(
                    "the first piece of a plugin must carry its header",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(ApiError::bad_request(
                    "only the first piece of a plugin carries a header",
                ));
            }
        }
        if bytes.len() + piece.data.len() > MAX_BYTES {
            return Err(ApiError::new(
                Reason::TooLarge,
                format!("the plugin has more than {} MiB, which is the limit", MAX_BYTES >> 20),
            ));
        }
        bytes.extend_from_slice(&piece.data);
    }
    let header = header.ok_or_else(|| ApiError::bad_request("no plugin was sent"))?;
    let bytes = bytes.freeze();
    let digest = sampan_state::digest_of(&bytes);
    Ok(Sent { header, bytes, digest })
}

fn invalid(name: &str, field: &str, message: impl Into<String>) -> ApiError {
    let cause = Cause {
        field: field.to_owned(),
        message: message.into(),
    };
    ApiError::invalid(format!("Plugin \"{name}\" is invalid"), vec![cause])
}

/// What of a plugin is wrong, as far as one field is.
fn field_of(error: &LoadError) -> &'static str {
    match error {
        LoadError::Configuration { .. } => "spec.config",
        _ => "spec",
    }
}

/// The spec that a header asks for; the world is still to be known where the header leaves it to the component.
fn spec_of(sent: &Sent) -> Result<(PluginSpec, Option<World>), ApiError> {
    let rpc::PluginHeader {
        name,
        config,
        world,
        slot,
        grants,
        digest,
        ..
    } = &sent.header;
    if !validate::is_name(name) {
        return Err(invalid(
            name,
            "name",
            "expected lower-case letters, digits, '-' and '.', starting and ending with a letter or digit",
        ));
    }
    let bare = |digest: &str| digest.trim_start_matches("sha256:").to_ascii_lowercase();
    if !digest.is_empty() && bare(digest) != bare(&sent.digest) {
        return Err(invalid(
            name,
            "digest",
            format!("the bytes have the digest {}, and {digest} was expected", sent.digest),
        ));
    }
    if let Some(grant) = grants.first() {
        return Err(invalid(
            name,
            "grants",
            format!("\"{grant}\" cannot be granted: no grants exist yet"),
        ));
    }
    let config: Value = match config.as_str() {
        "" => Value::Null,
        text => serde_json::from_str(text)
            .map_err(|error| invalid(name, "config", format!("it is not valid JSON: {error}")))?,
    };
    let world = match world.as_str() {
        "" => None,
        text => Some(
            World::ALL
                .into_iter()
                .find(|known| known.as_str() == text)
                .ok_or_else(|| {
                    invalid(
                        name,
                        "world",
                        format!(
                            "\"{text}\" is no world: expected {}",
                            World::ALL.map(World::as_str).join(" or ")
                        ),
                    )
                })?,
        ),
    };
    let (slot, digest) = (slot.clone(), sent.digest.clone());
    Ok((
        PluginSpec {
            digest,
            slot,
            config,
            mode: Mode::Standby,
            ..PluginSpec::default()
        },
        world,
    ))
}

impl Plugins {
    pub(super) async fn inspect_stream(
        &self,
        pieces: Streaming<rpc::PluginChunk>,
    ) -> Result<rpc::InspectResponse, ApiError> {
        let sent = gather(pieces).await?;
        let engine = self.front.engine.clone();
        let found = self.aside(move || engine.inspect(&sent.bytes)).await?;
        Ok(rpc::InspectResponse {
            digest: found.digest,
            world: found.world.map(|world| world.to_string()).unwrap_or_default(),
            imports: found.imports,
            exports: found.exports,
            size: found.size as u64,
            name: found.description.name,
            version: found.description.version,
            summary: found.description.summary,
            problems: found.problems,
        })
    }

    pub(super) async fn load_stream(&self, pieces: Streaming<rpc::PluginChunk>) -> Result<rpc::Object, ApiError> {
        let sent = gather(pieces).await?;
        let (spec, world) = spec_of(&sent)?;
        let name = sent.header.name.clone();
        let key = Key::new(plugin::RESOURCE, "", &name);
        self.may_take_place(&key, &sent)?;
        let tried = self.try_out(&name, sent.bytes.clone(), spec, world).await?;
        if tried.spec.world.runs_on_nodes() {
            features::require(&self.front.replica.snapshot(), Feature::of_world(tried.spec.world))?;
        }
        let size = sent.bytes.len() as u64;
        self.front.replica.put_blob(sent.bytes.clone()).await?;
        for _ in 0..super::modes::ATTEMPTS {
            let before = self.may_take_place(&key, &sent)?;
            match self.commit(self.plan(&key, &tried, size, before.as_deref())?).await {
                Err(error)
                    if matches!(
                        error.reason,
                        Reason::Conflict | Reason::AlreadyExists | Reason::NotFound
                    ) => {}
                Err(error) => return Err(error),
                Ok(objects) => {
                    let object = objects.into_iter().next_back().flatten();
                    let object = object.ok_or_else(|| ApiError::not_found(&key))?;
                    self.front
                        .narrator
                        .normal(&key, "PluginLoaded", &format!("loaded {}", tried.spec.digest));
                    if let Some(before) = before {
                        self.forget_bytes_of(&before).await;
                    }
                    return Ok(rpc::Object::new(&key, &object));
                }
            }
        }
        Err(ApiError::new(
            Reason::Conflict,
            format!("{key} changes all the time: try again"),
        ))
    }

    /// The plugin of that name that would be replaced, if it may be.
    fn may_take_place(&self, key: &Key, sent: &Sent) -> Result<Option<std::sync::Arc<Object>>, ApiError> {
        let before = self.front.replica.snapshot().get(key);
        let Some(object) = &before else { return Ok(None) };
        let its: PluginSpec = object.field("spec")?;
        if its.digest != sent.digest && !sent.header.replace {
            let mut error = ApiError::already_exists(key);
            error.message.push_str(&format!(
                " with other bytes ({}): choose another name, or ask to replace it",
                its.digest
            ));
            return Err(error);
        }
        Ok(before)
    }

    async fn try_out(
        &self,
        name: &str,
        bytes: Bytes,
        mut spec: PluginSpec,
        world: Option<World>,
    ) -> Result<Tried, ApiError> {
        let engine = self.front.engine.clone();
        let config = spec.config.clone();
        let tried = self.aside(move || {
            let world = match world {
                Some(world) => world,
                None => {
                    let found = engine.inspect(&bytes);
                    // A configuration that it demands is no problem here: the load below has it.
                    found.world.ok_or_else(|| ("spec", found.problems.join("; ")))?
                }
            };
            let loaded = engine
                .load(world, &bytes, &config, Limits::for_world(world))
                .map_err(|error| (field_of(&error), error.to_string()))?;
            Ok::<_, (&str, String)>((world, loaded.description().clone()))
        });
        let (world, description) = tried
            .await?
            .map_err(|(field, why)| invalid(name, field, format!("the component was not let in: {why}")))?;
        spec.world = world;
        if spec.slot.is_empty() {
            spec.slot = world.slot_of(name).to_owned();
        }
        if let Some(wrong) = spec.wrong_slot() {
            return Err(invalid(name, "spec.slot", wrong));
        }
        Ok(Tried { spec, description })
    }

    /// Runs what compiles, on a thread of its own.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        let failed =
            |error: &dyn std::fmt::Display| ApiError::internal(format!("the plugin could not be tried out: {error}"));
        let permit = self
            .compiling
            .clone()
            .acquire_owned()
            .await
            .map_err(|error| failed(&error))?;
        let work = move || {
            let done = work();
            drop(permit);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| failed(&error))
    }

    /// One plan with the object and its status. What is replaced keeps its mode: it is a swap in place.
    fn plan(&self, key: &Key, tried: &Tried, size: u64, before: Option<&Object>) -> Result<Plan, ApiError> {
        let status = PluginStatus {
            phase: "Ready".to_owned(),
            message: String::new(),
            name: tried.description.name.clone(),
            version: tried.description.version.clone(),
            summary: tried.description.summary.clone(),
            size,
        };
        let kind = kinds::of_resource(plugin::RESOURCE).ok_or_else(|| ApiError::internal("plugins are no kind"))?;
        let Some(before) = before else {
            let object = Object::new(kind, "", &key.name)
                .with_field("spec", &tried.spec)
                .with_field("status", &status);
            return Ok(Write::new(key.clone(), Operation::Create(object)).into());
        };
        let mut next = before.clone();
        next.metadata.annotations.remove(crate::BUILTIN);
        let mode = before.field::<PluginSpec>("spec")?.mode;
        next.set_field(
            "spec",
            &PluginSpec {
                mode,
                ..tried.spec.clone()
            },
        );
        next.set_field("status", &status);
        let write = |operation| Write::new(key.clone(), operation);
        let writes = vec![
            write(Operation::Replace(next.clone())).expecting(before.metadata.resource_version),
            write(Operation::ReplaceStatus(Object {
                metadata: sampan_api::Meta {
                    resource_version: 0,
                    ..next.metadata.clone()
                },
                ..next
            })),
        ];
        Ok(Plan { writes })
    }
}
