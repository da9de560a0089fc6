//! Volumes that are made of objects: config maps, secrets, what the pod may know of itself.
use crate::pod::{ConfigError, Facts, Sources, fields, sources::Data};
use k8s_openapi::api::core::v1::{self as core, Pod};
use std::path::PathBuf;

/// Files of a volume: path below it, content, mode.
pub(super) type Files = Vec<(PathBuf, Vec<u8>, u32)>;

/// The files of a volume that is made of objects; none if it is not.
pub(super) fn files(
    pod: &Pod,
    facts: &Facts,
    sources: &Sources,
    volume: &core::Volume,
) -> Result<Option<Files>, ConfigError> {
    if let Some(source) = &volume.config_map {
        let data = sources.config_map(&source.name, source.optional)?;
        return pick(data, source.items.as_deref(), source.default_mode, source.optional).map(Some);
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let data = sources.secret(name, source.optional)?;
        return pick(data, source.items.as_deref(), source.default_mode, source.optional).map(Some);
    }
    if let Some(source) = &volume.downward_api {
        return downward(pod, facts, source.items.as_deref(), source.default_mode).map(Some);
    }
    let Some(projected) = &volume.projected else {
        return Ok(None);
    };
    let mut all = Files::new();
    for part in projected.sources.iter().flatten() {
        let mode = projected.default_mode;
        if let Some(source) = &part.config_map {
            let data = sources.config_map(&source.name, source.optional)?;
            all.extend(pick(data, source.items.as_deref(), mode, source.optional)?);
        } else if let Some(source) = &part.secret {
            let data = sources.secret(&source.name, source.optional)?;
            all.extend(pick(data, source.items.as_deref(), mode, source.optional)?);
        } else if let Some(source) = &part.downward_api {
            all.extend(downward(pod, facts, source.items.as_deref(), mode)?);
        } else {
            return Err(ConfigError::config(
                "a projected source is not supported: use configMap, secret or downwardAPI",
            ));
        }
    }
    Ok(Some(all))
}

/// The keys that are wanted, as files.
fn pick(
    data: Option<Data>,
    items: Option<&[core::KeyToPath]>,
    default_mode: Option<i32>,
    optional: Option<bool>,
) -> Result<Files, ConfigError> {
    let Some(mut data) = data else { return Ok(Files::new()) };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return data
            .into_iter()
            .map(|(key, value)| file(&key, value, default_mode))
            .collect();
    };
    let mut files = Files::new();
    for item in items {
        match data.remove(&item.key) {
            Some(value) => files.push(file(&item.path, value, item.mode.or(default_mode))?),
            None if optional == Some(true) => {}
            None => {
                return Err(ConfigError::config(format!(
                    "references non-existent key: {}",
                    item.key
                )));
            }
        }
    }
    Ok(files)
}

fn file(path: &str, content: Vec<u8>, mode: Option<i32>) -> Result<(PathBuf, Vec<u8>, u32), ConfigError> {
    let wrong = || ConfigError::config(format!("the path \"{path}\" must be relative and without \"..\""));
    let path = super::relative(path).ok_or_else(wrong)?.to_owned();
    Ok((
        path,
        content,
        u32::try_from(mode.unwrap_or(0o644)).unwrap_or(0o644) & 0o777,
    ))
}

fn downward(
    pod: &Pod,
    facts: &Facts,
    items: Option<&[core::DownwardAPIVolumeFile]>,
    default_mode: Option<i32>,
) -> Result<Files, ConfigError> {
    let mut files = Files::new();
    for item in items.unwrap_or_default() {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(selector), _) => fields::field(pod, facts, &selector.field_path)?,
            (None, Some(selector)) => fields::resource(pod, None, facts, selector)?,
            (None, None) => {
                return Err(ConfigError::config(format!(
                    "{} has neither fieldRef nor resourceFieldRef",
                    item.path
                )));
            }
        };
        files.push(file(&item.path, value.into_bytes(), item.mode.or(default_mode))?);
    }
    Ok(files)
}
