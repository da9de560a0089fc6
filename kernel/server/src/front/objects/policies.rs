//! A Plugin object whose bytes or configuration are others than before is tried out before it is let in: a configuration that
//! a policy refuses would take the policy out of its slot.
use super::Front;
use sampan_api::{
    ApiError, Cause, Key, Object,
    plugin::{self, PluginSpec},
};
use sampan_sandbox::{Limits, LoadError};

impl Front {
    /// Nothing for objects of other kinds.
    ///
    /// # Errors
    /// `Invalid`, with the plugin's own words; `Unavailable` if it could not be compiled now.
    pub(super) async fn try_policy(&self, key: &Key, stored: Option<&Object>, next: &Object) -> Result<(), ApiError> {
        if &*key.resource != plugin::RESOURCE {
            return Ok(());
        }
        let spec: PluginSpec = next.field("spec")?;
        let before = stored.and_then(|stored| stored.field::<PluginSpec>("spec").ok());
        let same = |before: PluginSpec| {
            (before.digest, before.config, before.world) == (spec.digest.clone(), spec.config.clone(), spec.world)
        };
        if before.is_some_and(same) {
            return Ok(());
        }
        // That they are there is checked where the object is.
        let Some(bytes) = self.replica.snapshot().blob(&spec.digest) else {
            return Ok(());
        };
        let engine = self.engine.clone();
        let work = move || {
            engine
                .load(spec.world, &bytes, &spec.config, Limits::for_world(spec.world))
                .map(drop)
        };
        let tried = tokio::task::spawn_blocking(work).await;
        let tried = tried.map_err(|error| ApiError::internal(format!("{key} could not be tried out: {error}")))?;
        tried.map_err(|error| refusal(&key.name, &error))
    }
}

fn refusal(name: &str, error: &LoadError) -> ApiError {
    if error.passes() {
        return ApiError::unavailable(format!("Plugin \"{name}\": {error}: try again"));
    }
    let field = match error {
        LoadError::Configuration { .. } => "spec.config",
        LoadError::WrongWorld { .. } => "spec.world",
        _ => "spec.digest",
    };
    let cause = Cause {
        field: field.to_owned(),
        message: error.to_string(),
    };
    ApiError::invalid(format!("Plugin \"{name}\" is invalid"), vec![cause])
}
