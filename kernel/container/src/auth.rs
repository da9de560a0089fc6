//! Credentials for registries, from where Docker keeps them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::{ImageError, Result};
use crate::manifest::null_is_empty;
use crate::reference::Reference;

/// A config file above this is refused. Bytes.
const MAX_FILE: u64 = 1 << 20;

/// Where the credentials for a registry come from.
#[derive(Clone, Default)]
pub enum Auth {
    /// None are sent.
    #[default]
    Anonymous,
    /// A Docker `config.json`. One that does not exist has no credentials in it.
    ConfigFile(PathBuf),
    /// The content of a Docker `config.json`, as a pull secret carries it.
    Config(Vec<u8>),
    /// The `auth` of one entry of such a file: base64 of `user:password`.
    Entry(String),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::ConfigFile(path) => f.debug_tuple("ConfigFile").field(path).finish(),
            Self::Config(_) => f.write_str("Config(..)"),
            Self::Entry(_) => f.write_str("Entry(..)"),
        }
    }
}

/// What is sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    Basic { user: String, password: String },
    Bearer(String),
}

/// What was found, and what to say if it does not do.
pub(crate) struct Credentials {
    pub(crate) secret: Option<Secret>,
    /// Where they are from, for the error.
    pub(crate) origin: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    #[serde(default, deserialize_with = "null_is_empty")]
    auths: BTreeMap<String, Entry>,
    #[serde(default, deserialize_with = "null_is_empty")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    creds_store: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    #[serde(deserialize_with = "null_is_empty")]
    auth: String,
    #[serde(deserialize_with = "null_is_empty")]
    username: String,
    #[serde(deserialize_with = "null_is_empty")]
    password: String,
    #[serde(deserialize_with = "null_is_empty", rename = "identitytoken")]
    identity_token: String,
    #[serde(deserialize_with = "null_is_empty", rename = "registrytoken")]
    registry_token: String,
}

impl Auth {
    /// The credentials for this image's registry. Blocks on a small file.
    pub(crate) fn find(&self, image: &Reference) -> Result<Credentials> {
        match self {
            Self::Anonymous => Ok(Credentials {
                secret: None,
                origin: "no credentials were given".to_owned(),
            }),
            Self::Entry(auth) => {
                let secret = decode(auth).map_err(|reason| ImageError::malformed("credentials of the pull", reason))?;
                Ok(Credentials {
                    secret: Some(secret),
                    origin: "with the credentials of the pull".to_owned(),
                })
            }
            Self::Config(bytes) => find_in(bytes, "the pull secret", image),
            Self::ConfigFile(path) => match read(path)? {
                Some(bytes) => find_in(&bytes, &path.display().to_string(), image),
                None => {
                    let origin = format!("no credentials were found: {} does not exist", path.display());
                    Ok(Credentials { secret: None, origin })
                }
            },
        }
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ImageError::io("opening", path, error)),
    };
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| ImageError::io("reading", path, error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ImageError::too_large(path.display().to_string(), "1 MiB"));
    }
    Ok(Some(bytes))
}

fn find_in(bytes: &[u8], what: &str, image: &Reference) -> Result<Credentials> {
    let config: ConfigFile = serde_json::from_slice(bytes)
        .map_err(|error| ImageError::malformed(what, format!("not a Docker config file: {error}")))?;
    // The most telling entry wins: containers-auth.json has them for repositories, too.
    let best = config
        .auths
        .iter()
        .filter_map(|(key, entry)| Some((matches(key, image)?, key, entry)));
    if let Some((_, key, entry)) = best.max_by_key(|(length, ..)| *length) {
        let place = format!("entry {key:?} of {what}");
        if let Some(secret) = entry
            .secret()
            .map_err(|reason| ImageError::malformed(place.clone(), reason))?
        {
            return Ok(Credentials {
                secret: Some(secret),
                origin: format!("with the credentials of {place}"),
            });
        }
    }
    let helper = config
        .cred_helpers
        .iter()
        .find(|(key, _)| matches(key, image).is_some());
    let helper = helper
        .map(|(_, helper)| helper.as_str())
        .or(Some(config.creds_store.as_str()));
    let origin = match helper.filter(|helper| !helper.is_empty()) {
        Some(helper) => format!(
            "{what} leaves {} to the credential helper {helper:?}, which is not supported; add an entry to its auths",
            image.registry()
        ),
        None => format!("{what} has no entry for {}", image.registry()),
    };
    Ok(Credentials { secret: None, origin })
}

/// How much of the image's name the key names, if it names it: `https://host/v1/`, `host:port`, `host/repository`.
fn matches(key: &str, image: &Reference) -> Option<usize> {
    let key = key
        .split_once("://")
        .map_or(key, |(_, rest)| rest)
        .trim_end_matches('/');
    let key = key
        .strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key);
    if key == image.host() || key == image.registry() {
        return Some(1);
    }
    let name = image.name();
    let within = name.strip_prefix(key)?;
    (key.contains('/') && (within.is_empty() || within.starts_with('/'))).then_some(key.len())
}

impl Entry {
    fn secret(&self) -> Result<Option<Secret>, String> {
        if !self.registry_token.is_empty() {
            return Ok(Some(Secret::Bearer(self.registry_token.clone())));
        }
        if !self.identity_token.is_empty() {
            return Err("it holds an identity token, which is not supported; log in with a password or token".into());
        }
        if !self.auth.is_empty() {
            return decode(&self.auth).map(Some);
        }
        if self.username.is_empty() {
            return Ok(None);
        }
        Ok(Some(Secret::Basic {
            user: self.username.clone(),
            password: self.password.clone(),
        }))
    }
}

fn decode(auth: &str) -> Result<Secret, String> {
    let bytes = STANDARD
        .decode(auth.trim())
        .map_err(|_| "its auth is not base64".to_owned())?;
    let text = String::from_utf8(bytes).map_err(|_| "its auth is not base64 of text".to_owned())?;
    let text = text.trim_end_matches('\0');
    let (user, password) = text.split_once(':').ok_or("its auth is not base64 of user:password")?;
    Ok(Secret::Basic {
        user: user.to_owned(),
        password: password.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(json: &str, image: &str) -> Result<Credentials> {
        Auth::Config(json.as_bytes().to_vec()).find(&image.parse().unwrap())
    }

    fn user(found: Result<Credentials>) -> Option<String> {
        match found.unwrap().secret {
            Some(Secret::Basic { user, .. }) => Some(user),
            _ => None,
        }
    }

    #[test]
    fn finds_the_entry() {
        let entry = |user: &str| format!(r#"{{"auth":"{}"}}"#, STANDARD.encode(format!("{user}:p:w")));
        let nginx: Reference = "nginx".parse().unwrap();
        let json = format!(
            r#"{{"auths":{{"https://{}/v1/":{},"r.example:5000":{},"r.example:5000/team":{}}},"credsStore":""}}"#,
            nginx.host(),
            entry("hub"),
            entry("all"),
            entry("team")
        );
        assert_eq!(user(find(&json, "nginx")).as_deref(), Some("hub"));
        assert_eq!(user(find(&json, "r.example:5000/x")).as_deref(), Some("all"));
        assert_eq!(user(find(&json, "r.example:5000/team/x")).as_deref(), Some("team"));
        assert_eq!(user(find(&json, "r.example:5000/teamwork")).as_deref(), Some("all"));
        let none = find(&json, "other.example/x").unwrap();
        assert!(
            none.secret.is_none() && none.origin.contains("no entry for other.example"),
            "{}",
            none.origin
        );
    }

    #[test]
    fn says_why_there_is_none() {
        let helper = find(r#"{"credHelpers":{"r.example":"cloud"}}"#, "r.example/x").unwrap();
        assert!(
            helper
                .origin
                .contains("credential helper \"cloud\", which is not supported"),
            "{}",
            helper.origin
        );
        let store = find(r#"{"auths":{"r.example":{}},"credsStore":"desktop"}"#, "r.example/x").unwrap();
        assert!(store.origin.contains("desktop"), "{}", store.origin);
        let bad = find(r#"{"auths":{"r.example":{"auth":"%%"}}}"#, "r.example/x")
            .err()
            .unwrap()
            .to_string();
        assert!(bad.contains("not base64"), "{bad}");
        assert!(find("{", "r.example/x").is_err());
        let absent = Auth::ConfigFile("/nonexistent/config.json".into())
            .find(&"x".parse().unwrap())
            .unwrap();
        assert!(absent.origin.contains("/nonexistent/config.json does not exist"));
    }
}
