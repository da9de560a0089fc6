//! `token`: what lets machines join.
use crate::{
    print::{Moment, Table, age},
    session::Session,
    targets::{self, Scope},
};
use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use sampan_api::{Key, rpc};
use sampan_server::token::RESOURCE;
use std::time::Duration;

const EXAMPLES: &str = "Examples:
  sampan token create                                   # for nodes, good for a day
  sampan token create --role server --single-use --ttl 10m
  sampan token list
  sampan token revoke 1a2b3c4d";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TokenArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a token and print it: nobody can print it again
    #[command(after_help = "Example:\n  sampan token create --role server --single-use --ttl 10m")]
    Create {
        /// What machines become with it
        #[arg(long, value_enum, default_value = "node")]
        role: For,
        /// How long it is good
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = age::parse_duration)]
        ttl: Duration,
        /// Good for one machine only
        #[arg(long)]
        single_use: bool,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List tokens, without their secrets
    #[command(after_help = "Example:\n  sampan token list")]
    List,
    /// Make tokens worthless
    #[command(after_help = "Example:\n  sampan token revoke 1a2b3c4d")]
    Revoke {
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum For {
    Server,
    Node,
}

pub async fn run(args: TokenArgs, session: &Session) -> Result<()> {
    match args.what {
        What::Create {
            role,
            ttl,
            single_use,
            description,
        } => {
            let request = rpc::CreateTokenRequest {
                role: match role {
                    For::Server => "server".to_owned(),
                    For::Node => "node".to_owned(),
                },
                ttl_seconds: u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX),
                single_use,
                description,
            };
            let made = session
                .once(async { session.membership().create_token(request).await })
                .await?;
            println!("{}", made.token);
            Ok(())
        }
        What::List => list(session).await,
        What::Revoke { ids } => {
            for id in ids {
                // A whole token is as good as its id.
                let id = id.split('.').nth(1).unwrap_or(&id);
                let key = Key::new(RESOURCE, "", id);
                let request = rpc::DeleteRequest {
                    key: Some((&key).into()),
                    ..rpc::DeleteRequest::default()
                };
                session.delete(request).await?;
                println!("token \"{id}\" revoked");
            }
            Ok(())
        }
    }
}

async fn list(session: &Session) -> Result<()> {
    let tokens = session
        .list(&Scope::default().selection(targets::kind("tokens")?, session))
        .await?
        .objects;
    if tokens.is_empty() {
        eprintln!("No tokens: `sampan token create` makes one");
        return Ok(());
    }
    let now = Moment::now();
    let mut table = Table::new([
        "ID",
        "ROLE",
        "EXPIRES IN",
        "SINGLE USE",
        "USED BY",
        "DESCRIPTION",
        "AGE",
    ]);
    for token in tokens {
        let spec = &token.value["spec"];
        let expires = spec["expirationTimestamp"].as_str().unwrap_or_default();
        let left = match now.seconds_since(expires) {
            Some(past) if past < 0 => age::human(-past),
            _ => "expired".to_owned(),
        };
        let used: Vec<&str> = token.value["status"]["usedBy"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str())
            .collect();
        table.row([
            token.text("/metadata/name").to_owned(),
            spec["role"].as_str().unwrap_or_default().to_owned(),
            left,
            (spec["singleUse"] == true).to_string(),
            used.join(","),
            spec["description"].as_str().unwrap_or_default().to_owned(),
            now.age(&token.value),
        ]);
    }
    print!("{}", table.to_text(true));
    Ok(())
}
