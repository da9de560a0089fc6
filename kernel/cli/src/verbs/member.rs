//! `member`: the servers that keep the state together.
use crate::{
    print::Format,
    session::Session,
    verbs::{about, status},
};
use anyhow::Result;
use clap::{Args, Subcommand};
use sampan_api::rpc;

const EXAMPLES: &str = "Examples:
  sampan member list -o wide       # with disks and versions
  sampan member promote s4         # one that joined with --learner
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
    #[command(after_help = "Examples:\n  sampan member list\n  sampan member list -o wide")]
    List {
        /// wide, yaml, json, jsonpath=…
        #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
        output: Option<Format>,
    },
    /// Let a standby vote once it has caught up
    #[command(after_help = "Example:\n  sampan member promote s4")]
    Promote {
        #[arg(value_name = "NAME")]
        name: String,
    },
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
        What::List { output } => list(output.as_ref(), session).await,
        What::Promote { name } => {
            let request = || rpc::PromoteMemberRequest { name: name.clone() };
            session
                .again(|| async { session.membership().promote_member(request()).await })
                .await?;
            println!("member \"{name}\" votes once it has caught up");
            Ok(())
        }
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

async fn list(output: Option<&Format>, session: &Session) -> Result<()> {
    let members = status::ask(session).await?.members;
    let wide = output == Some(&Format::Wide);
    let value = members.iter().map(status::to_json).collect::<Vec<_>>().into();
    let output = output.filter(|output| !output.is_table());
    about::print(output, &value, || status::table(&members, wide))
}
