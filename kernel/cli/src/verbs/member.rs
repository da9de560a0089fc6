//! `member`: the servers that keep the state together.
use crate::{print::Table, session::Session};
use anyhow::Result;
use clap::{Args, Subcommand};
use sampan_api::rpc;

const EXAMPLES: &str = "Examples:
  sampan member list
  sampan member remove s3          # hands leadership over first, should it lead
  sampan member lead s2            # hand leadership to s2";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct MemberArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the servers: who leads, and how far the others are
    #[command(after_help = "Example:\n  sampan member list")]
    List,
    /// Take a server out of the group; refused if the rest would be no majority
    #[command(after_help = "Example:\n  sampan member remove s3")]
    Remove {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Hand leadership to a server
    #[command(after_help = "Example:\n  sampan member lead s2")]
    Lead {
        /// To whom; without: to any
        #[arg(value_name = "NAME", default_value = "")]
        name: String,
    },
}

pub async fn run(args: MemberArgs, session: &Session) -> Result<()> {
    match args.what {
        What::List => list(session).await,
        What::Remove { name } => {
            let request = || rpc::RemoveMemberRequest { name: name.clone() };
            session
                .once(async { session.membership().remove_member(request()).await })
                .await?;
            println!("member \"{name}\" is taken out of the group");
            Ok(())
        }
        What::Lead { name } => {
            let request = || rpc::TransferLeadershipRequest { name: name.clone() };
            let heir = session
                .once(async { session.membership().transfer_leadership(request()).await })
                .await?;
            println!("leadership goes to \"{}\"", heir.name);
            Ok(())
        }
    }
}

async fn list(session: &Session) -> Result<()> {
    let found = session
        .again(|| async { session.cluster().status(rpc::StatusRequest::default()).await })
        .await?;
    let mut table = Table::new(["NAME", "ROLE", "ADDRESS", "LAG", "STATE", "ID"]);
    for member in found.members {
        table.row([
            member.name,
            member.role,
            member.address,
            member.lag.map_or_else(|| "-".to_owned(), |lag| lag.to_string()),
            if member.active { "active" } else { "away" }.to_owned(),
            format!("{:x}", member.id),
        ]);
    }
    print!("{}", table.to_text(true));
    Ok(())
}
