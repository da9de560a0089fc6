//! The user's own credentials for a registry, from where `docker login` keeps them: the node has them for one pull.
use anyhow::{Context, Result};
use sampan_container::Reference;
use serde_json::Value;
use std::{fs::File, io::Read, path::PathBuf};

/// A config file is small. Bytes.
const MAX_FILE: u64 = 1 << 20;

/// The `auth` of the registry's entry, if there is one.
///
/// # Errors
/// If there is a file that cannot be read.
pub fn entry(reference: &Reference) -> Result<Option<String>> {
    let directory = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let Some(directory) = directory.or_else(|| std::env::home_dir().map(|home| home.join(".docker"))) else {
        return Ok(None);
    };
    let path = directory.join("config.json");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let config: Value =
        serde_json::from_reader(file.take(MAX_FILE)).with_context(|| format!("{} is not JSON", path.display()))?;
    Ok(find(&config, reference))
}

fn find(config: &Value, reference: &Reference) -> Option<String> {
    let registry = reference.registry();
    let names = |key: &str| {
        let key = key
            .split_once("://")
            .map_or(key, |(_, rest)| rest)
            .trim_end_matches('/');
        let key = key
            .strip_suffix("/v1")
            .or_else(|| key.strip_suffix("/v2"))
            .unwrap_or(key);
        // The default registry is kept under the name of its index.
        key == registry || key.strip_prefix("index.") == Some(registry)
    };
    let found = config["auths"].as_object()?.iter().find(|(key, _)| names(key))?;
    found.1["auth"]
        .as_str()
        .filter(|auth| !auth.is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_entry_of_the_registry() {
        let config = json!({"auths": {"https://r.example:5000/v2/": {"auth": "YTpi"}, "other.example": {}}});
        let auth = |image: &str| find(&config, &image.parse().unwrap());
        assert_eq!(auth("r.example:5000/team/x").as_deref(), Some("YTpi"));
        assert_eq!(auth("other.example/x"), None);
        assert_eq!(auth("nowhere.example/x"), None);
    }
}
