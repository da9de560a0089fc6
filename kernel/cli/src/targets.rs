//! What a command is about, as users name it: `pods`, `po,deploy`, `deploy/web`, `pod a b`, `-l app=web`, `-f file`.
use crate::{
    doc::Doc,
    failure,
    manifest::{Files, Manifest},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use sampan_api::{FieldSelector, Key, KindInfo, LabelSelector, kinds, rpc};

/// What `all` stands for, as in kubectl.
const ALL: [&str; 5] = ["pods", "services", "deployments", "replicasets", "jobs"];

/// A kind, or one object of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: &'static KindInfo,
    /// None: all of them.
    pub name: Option<String>,
}

/// The arguments by which most verbs are told what they are about.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Which {
    /// TYPE, TYPE NAME…, or TYPE/NAME…; types may be short (po, deploy) and several (po,deploy)
    #[arg(value_name = "TYPE[/NAME]")]
    pub args: Vec<String>,
    #[command(flatten)]
    pub files: Files,
    /// Only those with these labels, as in app=web,tier!=db
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
}

/// Where and by what to select.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    pub all_namespaces: bool,
    pub labels: String,
    pub fields: String,
}

impl Scope {
    /// What a list of a kind is to select.
    pub fn selection(&self, kind: &KindInfo, session: &Session) -> rpc::Selection {
        let namespace = if kind.namespaced && !self.all_namespaces {
            session.namespace.clone()
        } else {
            String::new()
        };
        rpc::Selection {
            resource: kind.resource.to_owned(),
            namespace,
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
        }
    }

    /// Checks the selectors before anything is asked.
    ///
    /// # Errors
    /// What part cannot be read.
    pub fn check(&self) -> Result<()> {
        LabelSelector::parse(&self.labels).map_err(|error| anyhow!(error.message))?;
        FieldSelector::parse(&self.fields).map_err(|error| anyhow!(error.message))?;
        Ok(())
    }
}

/// The kind a user names.
///
/// # Errors
/// That there is none, naming the nearest.
pub fn kind(name: &str) -> Result<&'static KindInfo> {
    if matches!(name, "peers" | "peer") {
        bail!("peers are no objects: `sampan get peers -o wide` shows how nodes reach each other");
    }
    kinds::of_name(name).map_err(|error| anyhow!(error.message))
}

/// Reads TYPE and NAME arguments.
///
/// # Errors
/// A type that is not known, or arguments that mix forms.
pub fn parse(args: &[String]) -> Result<Vec<Target>> {
    let Some(first) = args.first() else {
        return Ok(Vec::new());
    };
    if first.contains('/') {
        return args.iter().map(|arg| slashed(arg)).collect();
    }
    if let Some(slash) = args.iter().skip(1).find(|arg| arg.contains('/')) {
        bail!("\"{slash}\" already says its type: leave out the \"{first}\" before it");
    }
    let mut kinds: Vec<&'static KindInfo> = Vec::new();
    for name in first.split(',').filter(|name| !name.is_empty()) {
        let named = if name == "all" {
            ALL.iter().map(|name| kind(name)).collect::<Result<_>>()?
        } else {
            vec![kind(name)?]
        };
        let new: Vec<_> = named.into_iter().filter(|kind| !kinds.contains(kind)).collect();
        kinds.extend(new);
    }
    if kinds.is_empty() {
        bail!("\"{first}\" names no type: `sampan api-resources` lists them");
    }
    let names = &args[1..];
    if names.is_empty() {
        return Ok(kinds.into_iter().map(|kind| Target { kind, name: None }).collect());
    }
    let named = |kind| {
        names.iter().map(move |name: &String| Target {
            kind,
            name: Some(name.clone()),
        })
    };
    Ok(kinds.into_iter().flat_map(named).collect())
}

fn slashed(arg: &str) -> Result<Target> {
    match arg.split_once('/') {
        Some((kind_name, name)) if !kind_name.is_empty() && !name.is_empty() && !name.contains('/') => Ok(Target {
            kind: kind(kind_name)?,
            name: Some(name.to_owned()),
        }),
        _ => bail!("cannot read \"{arg}\": expected TYPE/NAME, as in deploy/web"),
    }
}

impl Which {
    /// Whether nothing was named at all.
    pub fn is_empty(&self) -> bool {
        self.args.is_empty() && self.files.filename.is_empty()
    }

    /// The scope, with what the command says beside.
    pub fn scope(&self, all_namespaces: bool) -> Scope {
        Scope {
            all_namespaces,
            labels: self.selector.clone().unwrap_or_default(),
            fields: String::new(),
        }
    }

    /// The targets of arguments and files, with the namespace of each.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn targets(&self, session: &Session) -> Result<Vec<(Target, String)>> {
        if self.is_empty() {
            bail!("say what: TYPE NAME, TYPE/NAME or -f FILE, as in deploy/web");
        }
        if !self.args.is_empty() && !self.files.filename.is_empty() {
            bail!("name objects or give -f, not both");
        }
        let own = |target: Target| (target, session.namespace.clone());
        let mut targets: Vec<_> = parse(&self.args)?.into_iter().map(own).collect();
        for manifest in self.files.read()? {
            let doc = manifest.doc()?;
            let namespace = namespace_of(&manifest, &doc, session)?;
            if doc.name().is_empty() {
                bail!("{}: metadata.name is not set", manifest.place("metadata"));
            }
            targets.push((
                Target {
                    kind: doc.kind,
                    name: Some(doc.name().to_owned()),
                },
                namespace,
            ));
        }
        Ok(targets)
    }

    /// The objects themselves: named ones got, others listed. Where a name is missing, that is an error of the tally and
    /// the others come all the same.
    ///
    /// # Errors
    /// What cannot be read, or that nothing says which objects of a type.
    pub async fn objects(
        &self,
        session: &Session,
        scope: &Scope,
        all: bool,
        tally: &mut failure::Tally,
    ) -> Result<Vec<Doc>> {
        scope.check()?;
        let mut docs = Vec::new();
        for (target, namespace) in self.targets(session)? {
            match target.name {
                Some(name) if scope.labels.is_empty() => {
                    docs.extend(tally.note(session.get(&key(target.kind, &namespace, &name)).await));
                }
                Some(_) => bail!("name objects or give a selector, not both"),
                None if !all && scope.labels.is_empty() => {
                    bail!("say which {}: a name, a selector (-l) or --all", target.kind.plural);
                }
                None => docs.extend(session.list(&scope.selection(target.kind, session)).await?.objects),
            }
        }
        Ok(docs)
    }
}

/// The key of a named object; the namespace counts only where the kind has one.
pub fn key(kind: &KindInfo, namespace: &str, name: &str) -> Key {
    Key::new(kind.resource, if kind.namespaced { namespace } else { "" }, name)
}

/// The namespace that a manifest's object is in.
///
/// # Errors
/// If it says another than the command line.
pub fn namespace_of(manifest: &Manifest, doc: &Doc, session: &Session) -> Result<String> {
    let own = doc.namespace();
    if !own.is_empty() && session.namespace_given && own != session.namespace {
        bail!(
            "{}: the namespace of the object \"{own}\" is not the one asked for, \"{}\": say --namespace={own}, or leave it out",
            manifest.place("metadata.namespace"),
            session.namespace
        );
    }
    Ok(if own.is_empty() {
        session.namespace.clone()
    } else {
        own.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &str) -> Result<Vec<String>> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        let show = |target: Target| match target.name {
            Some(name) => format!("{}/{name}", target.kind.plural),
            None => target.kind.plural.to_owned(),
        };
        Ok(parse(&args)?.into_iter().map(show).collect())
    }

    #[test]
    fn users_name_things_in_many_ways() {
        for (args, expected) in [
            ("po", "pods"),
            ("po,deploy", "pods deployments"),
            ("pod a b", "pods/a pods/b"),
            ("po,deploy web", "pods/web deployments/web"),
            ("deploy/web po/a", "deployments/web pods/a"),
            ("deployments.apps/web", "deployments/web"),
            ("all", "pods services deployments replicasets jobs"),
            ("all,po,cm", "pods services deployments replicasets jobs configmaps"),
        ] {
            assert_eq!(read(args).unwrap().join(" "), expected, "{args}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        let error = |args: &str| format!("{:#}", read(args).unwrap_err());
        assert!(
            error("pdos").contains("did you mean \"pods\"") || error("pdos").contains("did you mean \"pod\""),
            "{}",
            error("pdos")
        );
        for peers in ["peers", "peer/n2", "peers n2"] {
            assert!(error(peers).contains("`sampan get peers -o wide`"), "{peers}");
        }
        assert!(error("pod deploy/web").contains("already says its type"));
        assert!(error("pod/").contains("expected TYPE/NAME"));
        assert!(error(",").contains("names no type"));
    }

    #[test]
    fn selectors_are_checked_before_anything_is_asked() {
        let scope = Scope {
            labels: "a b".to_owned(),
            ..Scope::default()
        };
        assert!(scope.check().unwrap_err().to_string().contains("label selector"));
    }
}
