//! `certificate renew`: a new certificate for a context, with a key made here; or a server or node is made to renew its own.
use crate::{
    cli::Global,
    contexts::{self, Access, Contexts},
    session::{Session, Shown, credentials},
};
use anyhow::{Context, Result, bail};
use clap::Args;
use sampan_api::rpc;
use sampan_server::{Authority, pki::Identity};
use sampan_tls::{Certificate, KeyPair, Request};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sampan certificate renew                                   # the current context's own
  sampan certificate renew --context lab
  sampan certificate renew server/s1
  sampan certificate renew node/n1
  sudo sampan certificate renew --data-dir /var/lib/sampan   # on a server's machine, also after it has expired")]
pub struct RenewArgs {
    /// A server or node that is to renew its own now: server/NAME, node/NAME; without: the context's
    #[arg(value_name = "server/NAME | node/NAME", value_parser = Target::parse, conflicts_with = "data_dir")]
    target: Option<Target>,
    /// A server's data directory, whose authority issues the certificate without the server being asked
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Who is to renew.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    role: &'static str,
    name: String,
}

impl Target {
    fn parse(text: &str) -> Result<Self, String> {
        let (role, name) = text.split_once('/').unwrap_or_default();
        let role = match role {
            "server" | "servers" | "member" | "members" => "server",
            "node" | "nodes" | "no" => "node",
            _ => return Err(format!("\"{text}\" is neither server/NAME nor node/NAME")),
        };
        match sampan_api::validate::is_name(name) {
            true => Ok(Target {
                role,
                name: name.to_owned(),
            }),
            false => Err(format!("\"{name}\" is no name of a {role}")),
        }
    }
}

pub async fn run(args: RenewArgs, global: &Global) -> Result<()> {
    if let Some(target) = args.target {
        return rotate(target, &global.session()?).await;
    }
    let access = global.access()?;
    let request = Request::new()?;
    let cert_pem = match &args.data_dir {
        Some(data) => sign_here(data, &access, &request)?,
        None => {
            // Without the warning that it ends soon: that is why this is called.
            let session = Session::open(&access, global.request_timeout)?;
            let asked = rpc::RenewRequest {
                csr_pem: request.csr_pem.clone(),
                addresses: Vec::new(),
            };
            let answer = session.again(|| async { session.certificates().renew(asked.clone()).await });
            answer.await?.cert_pem
        }
    };
    let pair = request.answered(cert_pem);
    keep(&contexts::path(global.config.as_deref())?, &access, &pair)
}

/// Signs with the authority in a server's directory.
fn sign_here(data: &Path, access: &Access, request: &Request) -> Result<String> {
    let server = data.join("server");
    if !server.join("ca.key").exists() {
        bail!(
            "{} has no authority: is it the --data-dir of a server?",
            server.display()
        );
    }
    let authority = Authority::open(&server, "")?;
    let certificate = Shown::of(access)?.certificate;
    if authority.ca_pem() != access.ca_pem {
        bail!(
            "the authority in {} is not that of context \"{}\": it is of another cluster",
            server.display(),
            access.context
        );
    }
    let who = Identity {
        user: certificate.user,
        groups: certificate.groups,
    };
    Ok(authority.sign_client(&who, &request.csr_pem)?)
}

/// Puts the new certificate and its key in the place of the old.
fn keep(path: &Path, access: &Access, pair: &KeyPair) -> Result<()> {
    credentials(access)?.check(pair)?;
    // Read again: somebody may have changed it meanwhile.
    let mut contexts = Contexts::load(path)?;
    contexts.replace_identity(&access.context, pair)?;
    contexts.save(path)?;
    let certificate = Certificate::of_pem(&pair.cert_pem)?;
    println!(
        "context \"{}\": the certificate of \"{}\" was renewed, and is good until {}",
        access.context, certificate.user, certificate.not_after
    );
    Ok(())
}

async fn rotate(target: Target, session: &Session) -> Result<()> {
    let request = || rpc::RotateRequest {
        role: target.role.to_owned(),
        name: target.name.clone(),
    };
    let answer = session
        .once(async { session.certificates().rotate(request()).await })
        .await?;
    let certificate = Certificate::of_der(&answer.der).context("the server's answer")?;
    println!(
        "{} \"{}\": the certificate was renewed, and is good until {}",
        target.role, target.name, certificate.not_after
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_servers_and_nodes() {
        let parsed = Target::parse("node/n1").unwrap();
        assert_eq!((parsed.role, parsed.name.as_str()), ("node", "n1"));
        assert_eq!(Target::parse("member/s1").unwrap().role, "server");
        for wrong in ["n1", "pod/x", "node/", "node/A B"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }
}
