//! `config`: the file of contexts, as kubectl's verbs for its own.
use crate::{
    cli::Global,
    contexts::{self, Context, Contexts, NamedContext},
    print::{Table, yaml},
};
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

const EXAMPLES: &str = "Examples:
  sampan config get-contexts
  sampan config use-context lab
  sampan config set-context --current --namespace=team-a
  sampan config view";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ConfigArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the file; keys only with --raw
    #[command(after_help = "Example:\n  sampan config view --raw")]
    View {
        /// Also certificates and keys
        #[arg(long)]
        raw: bool,
    },
    /// List the contexts
    #[command(after_help = "Example:\n  sampan config get-contexts")]
    GetContexts,
    /// Print the current context
    #[command(after_help = "Example:\n  sampan config current-context")]
    CurrentContext,
    /// Make a context the current one
    #[command(visible_alias = "use", after_help = "Example:\n  sampan config use-context lab")]
    UseContext { name: String },
    /// Make or change a context
    #[command(after_help = "Example:\n  sampan config set-context --current --namespace=team-a")]
    SetContext {
        #[arg(required_unless_present = "current")]
        name: Option<String>,
        /// The current one
        #[arg(long, conflicts_with = "name")]
        current: bool,
        /// Its cluster
        #[arg(long)]
        cluster: Option<String>,
        /// Its user
        #[arg(long)]
        user: Option<String>,
    },
    /// Take a context away
    #[command(after_help = "Example:\n  sampan config delete-context lab")]
    DeleteContext { name: String },
}

pub fn run(args: ConfigArgs, global: &Global) -> Result<()> {
    let path = contexts::path(global.config.as_deref())?;
    let mut contexts = Contexts::load(&path)?;
    match args.verb {
        Verb::View { raw } => print!("{}", yaml::to_text(&view(&contexts, raw)?)?),
        Verb::GetContexts => print!("{}", table(&contexts)),
        Verb::CurrentContext if contexts.current_context.is_empty() => {
            bail!("current-context is not set: `sampan up` sets it")
        }
        Verb::CurrentContext => println!("{}", contexts.current_context),
        Verb::UseContext { name } => {
            // Whether it is whole is seen before it is used.
            contexts.access(Some(&name))?;
            contexts.current_context.clone_from(&name);
            contexts.save(&path)?;
            println!("Switched to context \"{name}\".");
        }
        Verb::SetContext {
            name, cluster, user, ..
        } => {
            let name = name.unwrap_or_else(|| contexts.current_context.clone());
            if name.is_empty() {
                bail!("no current context is set: name one");
            }
            let word = set(&mut contexts, &name, cluster, user, global.namespace.clone());
            contexts.save(&path)?;
            println!("Context \"{name}\" {word}.");
        }
        Verb::DeleteContext { name } => {
            if !contexts.remove(&name) {
                bail!("no context \"{name}\" is in {}", path.display());
            }
            if contexts.current_context == name {
                contexts.current_context.clear();
            }
            contexts.save(&path)?;
            println!("deleted context {name} from {}", path.display());
        }
    }
    Ok(())
}

fn set(
    contexts: &mut Contexts,
    name: &str,
    cluster: Option<String>,
    user: Option<String>,
    namespace: Option<String>,
) -> &'static str {
    let word = match contexts.contexts.iter().any(|known| known.name == name) {
        true => "modified",
        false => {
            contexts.contexts.push(NamedContext {
                name: name.to_owned(),
                context: Context::default(),
            });
            "created"
        }
    };
    for known in contexts.contexts.iter_mut().filter(|known| known.name == name) {
        let context = &mut known.context;
        cluster.iter().for_each(|cluster| context.cluster.clone_from(cluster));
        user.iter().for_each(|user| context.user.clone_from(user));
        namespace
            .iter()
            .for_each(|namespace| context.namespace.clone_from(namespace));
    }
    word
}

fn view(contexts: &Contexts, raw: bool) -> Result<Value> {
    let mut value = serde_json::to_value(contexts)?;
    if raw {
        return Ok(value);
    }
    for (list, inner, fields) in [
        ("clusters", "cluster", &["certificate-authority-data"][..]),
        ("users", "user", &["client-certificate-data", "client-key-data"][..]),
    ] {
        for entry in value[list].as_array_mut().into_iter().flatten() {
            for field in fields {
                let word = if list == "clusters" { "DATA+OMITTED" } else { "REDACTED" };
                entry[inner][*field] = word.into();
            }
        }
    }
    Ok(value)
}

fn table(contexts: &Contexts) -> String {
    let mut table = Table::new(["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"]);
    for known in &contexts.contexts {
        let mark = if known.name == contexts.current_context {
            "*"
        } else {
            ""
        };
        let context = &known.context;
        table.row([mark, &known.name, &context.cluster, &context.user, &context.namespace]);
    }
    table.to_text(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contexts::Access;

    #[test]
    fn keys_are_shown_only_raw() {
        let mut contexts = Contexts::default();
        contexts.put(&Access {
            context: "lab".into(),
            key_pem: "KEY".into(),
            ..Access::default()
        });
        let shown = view(&contexts, false).unwrap().to_string();
        assert!(shown.contains("REDACTED") && !shown.contains("S0VZ"), "{shown}");
        assert!(view(&contexts, true).unwrap().to_string().contains("S0VZ"));
        assert_eq!(
            table(&contexts),
            "CURRENT   NAME   CLUSTER   AUTHINFO    NAMESPACE\n*         lab    lab       lab-admin\n"
        );
        assert_eq!(set(&mut contexts, "lab", None, None, Some("team".into())), "modified");
        assert_eq!(contexts.access(None).unwrap().namespace, "team");
    }
}
