//! Config maps and secrets, of files and literals.
use crate::verbs::outcome::Says;
use anyhow::{Context, Result, anyhow, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::{Args, Subcommand};
use sampan_tls::KeyPair;
use serde_json::{Map, Value, json};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sampan create configmap settings --from-literal=mode=fast --from-file=site.conf")]
pub struct DataArgs {
    name: String,
    /// KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    from_literal: Vec<String>,
    /// A file, under its own name or KEY=FILE; or all files of a directory
    #[arg(long, value_name = "[KEY=]FILE")]
    from_file: Vec<String>,
    #[command(flatten)]
    pub says: Says,
}

#[derive(Debug, Args)]
pub struct SecretArgs {
    #[command(subcommand)]
    kind: SecretKind,
}

#[derive(Debug, Subcommand)]
enum SecretKind {
    /// Of files and literals
    Generic(GenericArgs),
    /// A certificate and its key, as Ingresses want them
    Tls(TlsArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sampan create secret generic login --from-literal=user=anna --from-file=key.pem")]
struct GenericArgs {
    #[command(flatten)]
    data: DataArgs,
    /// What kind of secret it is
    #[arg(long = "type", default_value = "Opaque")]
    kind: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sampan create secret tls shop-tls --cert=shop.crt --key=shop.key")]
struct TlsArgs {
    name: String,
    /// The certificate in PEM, with those that signed it after it
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    says: Says,
}

/// # Errors
/// If literals are none, or files cannot be read.
pub fn config_map(args: &DataArgs) -> Result<Value> {
    let (mut data, mut binary) = (Map::new(), Map::new());
    for (key, bytes) in gather(args)? {
        match String::from_utf8(bytes) {
            Ok(text) => data.insert(key, text.into()),
            Err(error) => binary.insert(key, STANDARD.encode(error.as_bytes()).into()),
        };
    }
    let mut value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": args.name}});
    for (field, map) in [("data", data), ("binaryData", binary)] {
        if !map.is_empty() {
            value[field] = map.into();
        }
    }
    Ok(value)
}

/// The secret, and how it is told of.
///
/// # Errors
/// If files cannot be read, or are not what they should be.
pub fn secret(args: SecretArgs) -> Result<(Value, Says)> {
    Ok(match args.kind {
        SecretKind::Generic(args) => (generic(&args)?, args.data.says),
        SecretKind::Tls(args) => (tls(&args)?, args.says),
    })
}

fn tls(args: &TlsArgs) -> Result<Value> {
    let (cert, key) = (content(&args.cert)?, content(&args.key)?);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pair = KeyPair {
        cert_pem: text(&cert),
        key_pem: text(&key),
    };
    pair.certified().map_err(|error| {
        let (path, other) = match error.is_of_key() {
            true => (&args.key, &args.cert),
            false => (&args.cert, &args.key),
        };
        anyhow!("{} does not go with {}: {error}", path.display(), other.display())
    })?;
    let data = json!({"tls.crt": STANDARD.encode(cert), "tls.key": STANDARD.encode(key)});
    Ok(
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": args.name}, "data": data}),
    )
}

fn generic(args: &GenericArgs) -> Result<Value> {
    let data = gather(&args.data)?
        .into_iter()
        .map(|(key, bytes)| (key, Value::String(STANDARD.encode(bytes))));
    let data: Map<String, Value> = data.collect();
    Ok(
        json!({"apiVersion": "v1", "kind": "Secret", "type": args.kind, "metadata": {"name": args.data.name}, "data": data}),
    )
}

/// The data of literals and files, with every key once.
fn gather(args: &DataArgs) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |key: &str, bytes: Vec<u8>| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if key.is_empty() || key.len() > 253 || !key.chars().all(plain) {
            bail!("\"{key}\" is no key: letters, digits, '-', '_' and '.', 253 at most");
        }
        if found.iter().any(|(known, _)| known == key) {
            bail!("the key \"{key}\" is there twice");
        }
        found.push((key.to_owned(), bytes));
        Ok(())
    };
    for literal in &args.from_literal {
        let (key, value) = literal
            .split_once('=')
            .with_context(|| format!("\"{literal}\" is not KEY=VALUE"))?;
        add(key, value.as_bytes().to_vec())?;
    }
    for source in &args.from_file {
        let (key, path) = match source.split_once('=') {
            Some((key, path)) => (Some(key), Path::new(path)),
            None => (None, Path::new(source)),
        };
        let file_name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && key.is_none() {
            let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
            let mut paths = entries
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<Vec<_>>>()?;
            paths.sort();
            paths
                .iter()
                .filter(|path| path.is_file())
                .try_for_each(|path| add(&file_name(path), content(path)?))?;
        } else {
            add(&key.map_or_else(|| file_name(path), str::to_owned), content(path)?)?;
        }
    }
    Ok(found)
}

fn content(path: &Path) -> Result<Vec<u8>> {
    let what = || format!("cannot read {}", path.display());
    let limit = sampan_api::MAX_OBJECT_BYTES as u64;
    let mut bytes = Vec::new();
    File::open(path)
        .with_context(what)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .with_context(what)?;
    if bytes.len() as u64 > limit {
        bail!(
            "{} has more than the {limit} bytes that an object may have",
            path.display()
        );
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_comes_from_literals_and_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.txt"), "text").unwrap();
        std::fs::write(dir.path().join("b.bin"), [0xff, 0]).unwrap();
        let args = |literals: &[&str], files: &[String]| DataArgs {
            name: "m".into(),
            from_literal: literals.iter().map(|l| (*l).to_owned()).collect(),
            from_file: files.to_vec(),
            says: Says::default(),
        };
        let here = dir.path().display().to_string();
        let value = config_map(&args(&["k=v=w"], &[here.clone(), format!("c={here}/a.txt")])).unwrap();
        assert_eq!(value["data"], json!({"k": "v=w", "a.txt": "text", "c": "text"}));
        assert_eq!(value["binaryData"], json!({"b.bin": "/wA="}));
        assert!(
            config_map(&args(&["k=1", "k=2"], &[]))
                .unwrap_err()
                .to_string()
                .contains("twice")
        );
        assert!(
            config_map(&args(&["novalue"], &[]))
                .unwrap_err()
                .to_string()
                .contains("KEY=VALUE")
        );
    }

    #[test]
    fn a_certificate_comes_with_its_own_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["shop.example".to_owned()]).unwrap();
        let (cert, key) = (file("c", &cert.pem()), file("k", &signing_key.serialize_pem()));
        let other = file("o", &rcgen::KeyPair::generate().unwrap().serialize_pem());
        let args = |cert: &PathBuf, key: &PathBuf| TlsArgs {
            name: "shop".into(),
            cert: cert.clone(),
            key: key.clone(),
            says: Says::default(),
        };
        let made = tls(&args(&cert, &key)).unwrap();
        assert_eq!(made["type"], "kubernetes.io/tls");
        assert!(sampan_api::validate::manifest(made.to_string().as_bytes()).is_ok());
        let refused = |cert: &PathBuf, key: &PathBuf| format!("{:#}", tls(&args(cert, key)).unwrap_err());
        let (at, of_other) = (cert.display().to_string(), other.display().to_string());
        let words = refused(&cert, &other);
        assert!(
            words.starts_with(&format!(
                "{of_other} does not go with {at}: the key is not the certificate's"
            )),
            "{words}"
        );
        assert!(refused(&key, &key).contains("there is no certificate in"));
        assert!(refused(&cert, &cert).contains("no private key"));
    }
}
