//! `describe`: objects in detail, each with what happened to it.
use crate::{
    describe::{self, Related},
    doc::Doc,
    failure::{self, Tally},
    print::Moment,
    session::Session,
    targets::{self, Scope, Which},
};
use anyhow::Result;
use clap::Args;

const EXAMPLES: &str = "Examples:
  sampan describe deploy/web
  sampan describe pod web-6d4c      # all whose names start so
  sampan describe pods -l app=web
  sampan describe node";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DescribeArgs {
    #[command(flatten)]
    which: Which,
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Also what happened to it
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    show_events: bool,
}

pub async fn run(args: DescribeArgs, session: &Session) -> Result<()> {
    let scope = args.which.scope(args.all_namespaces);
    scope.check()?;
    let mut tally = Tally::default();
    let mut docs = Vec::new();
    for (target, namespace) in args.which.targets(session)? {
        match &target.name {
            Some(name) => match session.get(&targets::key(target.kind, &namespace, name)).await {
                Ok(doc) => docs.push(doc),
                Err(error) if failure::is_not_found(&error) => {
                    let alike = session
                        .list(&Scope::default().selection(target.kind, session))
                        .await?
                        .objects;
                    let alike: Vec<Doc> = alike
                        .into_iter()
                        .filter(|doc| doc.name().starts_with(name.as_str()))
                        .collect();
                    if alike.is_empty() {
                        tally.fail(&error);
                    }
                    docs.extend(alike);
                }
                Err(error) => tally.fail(&error),
            },
            None => docs.extend(session.list(&scope.selection(target.kind, session)).await?.objects),
        }
    }
    for (index, doc) in docs.iter().enumerate() {
        if index > 0 {
            println!("\n");
        }
        let related = Related::of(doc, args.show_events, session).await?;
        print!("{}", describe::describe(doc, &related, Moment::now()));
    }
    tally.finish()
}
