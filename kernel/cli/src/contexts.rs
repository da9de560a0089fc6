//! Contexts: which cluster is spoken to, as whom, in which namespace. A file like kubectl's, of mode 0600.
use anyhow::{Context as _, Result, anyhow, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sampan_api::{DEFAULT_NAMESPACE, SERVERS_HOST};
use sampan_tls::KeyPair;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, Permissions},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// What a file of contexts may take. Bytes.
const MAX_FILE: u64 = 4 << 20;

/// The file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Contexts {
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    pub kind: String,
    pub current_context: String,
    pub clusters: Vec<NamedCluster>,
    pub contexts: Vec<NamedContext>,
    pub users: Vec<NamedUser>,
}

impl Default for Contexts {
    fn default() -> Self {
        let (clusters, contexts, users) = (Vec::new(), Vec::new(), Vec::new());
        Contexts {
            api_version: "v1".into(),
            kind: "Config".into(),
            current_context: String::new(),
            clusters,
            contexts,
            users,
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NamedCluster {
    pub name: String,
    pub cluster: Cluster,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Cluster {
    /// `https://127.0.0.1:7443`
    pub server: String,
    /// Base64 of PEM.
    pub certificate_authority_data: String,
    /// The name in the server's certificate, where it is not the host of `server`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tls_server_name: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NamedContext {
    pub name: String,
    pub context: Context,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Context {
    pub cluster: String,
    pub user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NamedUser {
    pub name: String,
    pub user: User,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct User {
    /// Base64 of PEM, as is the key.
    pub client_certificate_data: String,
    pub client_key_data: String,
}

/// All that is needed to speak to a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub context: String,
    /// `https://127.0.0.1:7443`
    pub server: String,
    pub tls_server_name: String,
    pub namespace: String,
    pub ca_pem: String,
    pub cert_pem: String,
    pub key_pem: String,
}

/// Where the contexts are: what the user says, `$SAMPAN_CONFIG`, or `~/.sampan/config`.
///
/// # Errors
/// If there is no home to look in.
pub fn path(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    if let Some(path) = std::env::var_os("SAMPAN_CONFIG").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    let home = home.context("no home directory is known: set HOME, SAMPAN_CONFIG or --config")?;
    Ok(home.join(".sampan/config"))
}

impl Contexts {
    /// Reads the file; none is an empty one. Warns if others may read the keys in it.
    ///
    /// # Errors
    /// If it cannot be read or is not what it should be, with line and column.
    pub fn load(path: &Path) -> Result<Self> {
        let what = || format!("cannot read {}", path.display());
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Contexts::default()),
            Err(error) => return Err(error).with_context(what),
        };
        let mode = file.metadata().with_context(what)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = path.display();
            crate::terminal::warn(&format!(
                "{path} holds keys and others may read it (mode {mode:o}): chmod 600 {path}"
            ));
        }
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text).with_context(what)?;
        if text.trim().is_empty() {
            return Ok(Contexts::default());
        }
        serde_saphyr::from_str(&text)
            .map_err(|error| anyhow!("{} is no file of contexts: {}", path.display(), error.without_snippet()))
    }

    /// Writes the file whole, readable by nobody else.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let what = || format!("cannot write {}", path.display());
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        if !parent.exists() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)
                .with_context(what)?;
        }
        let text = crate::print::yaml::to_text(&serde_json::to_value(self)?)?;
        let mut file = tempfile::Builder::new()
            .prefix(".config-")
            .tempfile_in(parent)
            .with_context(what)?;
        file.as_file()
            .set_permissions(Permissions::from_mode(0o600))
            .with_context(what)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.as_file().sync_all())
            .with_context(what)?;
        file.persist(path).map_err(|error| error.error).with_context(what)?;
        Ok(())
    }

    /// The context of that name, or the current one.
    ///
    /// # Errors
    /// If there is none, saying how to get one.
    pub fn access(&self, name: Option<&str>) -> Result<Access> {
        let name = name.unwrap_or(&self.current_context);
        if name.is_empty() {
            bail!(
                "no cluster is known: start one with `sampan up`, or choose one with `sampan config use-context NAME`"
            );
        }
        let Some(context) = self
            .contexts
            .iter()
            .find(|known| known.name == name)
            .map(|known| &known.context)
        else {
            let known: Vec<_> = self.contexts.iter().map(|known| known.name.as_str()).collect();
            let known = if known.is_empty() {
                "none: `sampan up` makes one".to_owned()
            } else {
                known.join(", ")
            };
            bail!("no context \"{name}\" is known; there is {known}");
        };
        let cluster = self
            .clusters
            .iter()
            .find(|known| known.name == context.cluster)
            .map(|known| &known.cluster);
        let cluster = cluster.with_context(|| {
            format!(
                "context \"{name}\" names cluster \"{}\", which is not there",
                context.cluster
            )
        })?;
        let user = self
            .users
            .iter()
            .find(|known| known.name == context.user)
            .map(|known| &known.user);
        let user =
            user.with_context(|| format!("context \"{name}\" names user \"{}\", which is not there", context.user))?;
        let pem = |field: &str, data: &str| decode(data).with_context(|| format!("{field} of context \"{name}\""));
        Ok(Access {
            context: name.to_owned(),
            server: cluster.server.clone(),
            tls_server_name: cluster.tls_server_name.clone(),
            namespace: if context.namespace.is_empty() {
                DEFAULT_NAMESPACE.into()
            } else {
                context.namespace.clone()
            },
            ca_pem: pem("certificate-authority-data", &cluster.certificate_authority_data)?,
            cert_pem: pem("client-certificate-data", &user.client_certificate_data)?,
            key_pem: pem("client-key-data", &user.client_key_data)?,
        })
    }

    /// Adds or replaces a context with its cluster and user, and makes it the current one. A namespace that was set
    /// for it before stays.
    pub fn put(&mut self, access: &Access) {
        let name = &access.context;
        let user_name = format!("{name}-admin");
        let before = self
            .contexts
            .iter()
            .find(|known| known.name == *name)
            .map(|known| known.context.namespace.clone());
        self.remove(name);
        self.clusters.retain(|known| known.name != *name);
        self.users.retain(|known| known.name != user_name);
        self.clusters.push(NamedCluster {
            name: name.clone(),
            cluster: Cluster {
                server: access.server.clone(),
                certificate_authority_data: STANDARD.encode(&access.ca_pem),
                tls_server_name: access.tls_server_name.clone(),
            },
        });
        self.users.push(NamedUser {
            name: user_name.clone(),
            user: User {
                client_certificate_data: STANDARD.encode(&access.cert_pem),
                client_key_data: STANDARD.encode(&access.key_pem),
            },
        });
        let context = Context {
            cluster: name.clone(),
            user: user_name,
            namespace: before.unwrap_or_default(),
        };
        self.contexts.push(NamedContext {
            name: name.clone(),
            context,
        });
        self.current_context.clone_from(name);
    }

    /// Gives a context's user another certificate, and its key.
    ///
    /// # Errors
    /// If there is no such context any more.
    pub fn replace_identity(&mut self, name: &str, pair: &KeyPair) -> Result<()> {
        let context = self.contexts.iter().find(|known| known.name == name);
        let user = context.map(|known| known.context.user.clone());
        let user = self.users.iter_mut().find(|known| Some(&known.name) == user.as_ref());
        let user = user.with_context(|| format!("context \"{name}\" or its user is not there any more"))?;
        user.user = User {
            client_certificate_data: STANDARD.encode(&pair.cert_pem),
            client_key_data: STANDARD.encode(&pair.key_pem),
        };
        Ok(())
    }

    /// Notes that a context's cluster has these servers, by `HOST:PORT`: the next command finds another when one is away. Where
    /// the user said to find it stays first. Whether that is news.
    pub fn learn(&mut self, name: &str, servers: &[String]) -> bool {
        let context = self.contexts.iter().find(|known| known.name == name);
        let cluster = context.map(|known| known.context.cluster.clone());
        let cluster = self
            .clusters
            .iter_mut()
            .find(|known| Some(&known.name) == cluster.as_ref());
        let Some(NamedCluster { cluster, .. }) = cluster else {
            return false;
        };
        let first = cluster.server.split(',').next().unwrap_or_default().trim().to_owned();
        let others = servers.iter().map(|server| format!("https://{server}"));
        let others = others.filter(|server| *server != first);
        let all = std::iter::once(first.clone())
            .chain(others)
            .collect::<Vec<_>>()
            .join(",");
        if servers.is_empty() || all == cluster.server || (servers.len() == 1 && first == cluster.server) {
            return false;
        }
        cluster.server = all;
        // The one name that the certificates of all servers have.
        SERVERS_HOST.clone_into(&mut cluster.tls_server_name);
        true
    }

    /// Takes a context away, and its cluster and user if no other uses them. Whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.contexts.len();
        self.contexts.retain(|known| known.name != name);
        let contexts = &self.contexts;
        self.clusters
            .retain(|cluster| contexts.iter().any(|known| known.context.cluster == cluster.name));
        self.users
            .retain(|user| contexts.iter().any(|known| known.context.user == user.name));
        before != self.contexts.len()
    }
}

fn decode(data: &str) -> Result<String> {
    let bytes = STANDARD.decode(data.trim()).context("not base64")?;
    String::from_utf8(bytes).context("not base64 of PEM")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_learns_of_other_servers() {
        let mut contexts = Contexts::default();
        contexts.put(&access("c"));
        let servers = |list: &[&str]| list.iter().map(|server| (*server).to_owned()).collect::<Vec<_>>();
        assert!(
            !contexts.learn("c", &servers(&["10.0.0.1:7443"])),
            "one server is where the user found it"
        );
        assert!(!contexts.learn("other", &servers(&["10.0.0.1:7443", "10.0.0.2:7443"])));
        assert!(contexts.learn("c", &servers(&["127.0.0.1:7443", "10.0.0.2:7443"])));
        assert!(!contexts.learn("c", &servers(&["127.0.0.1:7443", "10.0.0.2:7443"])));
        let known = contexts.access(Some("c")).unwrap();
        assert_eq!(known.server, "https://127.0.0.1:7443,https://10.0.0.2:7443");
        assert_eq!(known.tls_server_name, SERVERS_HOST);
        assert!(contexts.learn("c", &servers(&["127.0.0.1:7443"])), "the other is gone");
        assert_eq!(contexts.access(Some("c")).unwrap().server, "https://127.0.0.1:7443");
    }

    fn access(name: &str) -> Access {
        Access {
            context: name.into(),
            server: "https://127.0.0.1:7443".into(),
            namespace: DEFAULT_NAMESPACE.into(),
            ca_pem: "CA".into(),
            cert_pem: "CERT".into(),
            key_pem: "KEY".into(),
            ..Access::default()
        }
    }

    #[test]
    fn what_is_written_is_read_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/config");
        let mut contexts = Contexts::load(&path).unwrap();
        assert!(contexts.access(None).unwrap_err().to_string().contains("sampan up"));
        contexts.put(&access("one"));
        contexts.put(&access("two"));
        contexts.save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Contexts::load(&path).unwrap();
        assert_eq!(again.access(None).unwrap(), access("two"));
        assert_eq!(again.access(Some("one")).unwrap(), access("one"));
        let error = again.access(Some("three")).unwrap_err().to_string();
        assert!(error.contains("one, two"), "{error}");
    }

    #[test]
    fn a_context_keeps_its_namespace_when_it_is_written_anew() {
        let mut contexts = Contexts::default();
        contexts.put(&access("one"));
        contexts.contexts[0].context.namespace = "team".into();
        contexts.put(&access("one"));
        assert_eq!(contexts.access(None).unwrap().namespace, "team");
        assert!(contexts.remove("one"));
        assert!(contexts.clusters.is_empty() && contexts.users.is_empty());
    }

    #[test]
    fn rubbish_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        fs::write(&path, "contexts: [\n  {name: x\n").unwrap();
        let error = Contexts::load(&path).unwrap_err().to_string();
        assert!(
            error.contains("config is no file of contexts") && error.contains("line"),
            "{error}"
        );
    }
}
