//! `get`: lists objects, once or for as long as they change.
use crate::{
    doc::Doc,
    failure::Tally,
    jsonpath,
    print::{
        Format, Moment, Table,
        table::{self, Dress},
    },
    session::{Seen, Session},
    targets::{self, Scope, Target, Which},
    terminal,
};
use anyhow::{Result, bail};
use clap::Args;
use sampan_api::KindInfo;
use serde_json::Value;
use std::cmp::Ordering;

const EXAMPLES: &str = "Examples:
  sampan get pods
  sampan get po,deploy -A -o wide
  sampan get deploy/web -o yaml
  sampan get pods -l app=web --sort-by=.spec.nodeName -w
  sampan get pods -o jsonpath='{range .items[*]}{.metadata.name}{\"\\n\"}{end}'
  sampan get pods -o custom-columns=NAME:.metadata.name,IP:.status.podIP
  sampan get peers -o wide                    # how nodes reach each other";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct GetArgs {
    #[command(flatten)]
    which: Which,
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only those with these fields, as in status.phase=Running,spec.nodeName!=n1
    #[arg(long)]
    field_selector: Option<String>,
    /// wide, yaml, json, name, jsonpath=…, custom-columns=…
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
    output: Option<Format>,
    /// Leave the headers out
    #[arg(long)]
    no_headers: bool,
    /// Add a column of all labels
    #[arg(long)]
    show_labels: bool,
    /// Say the type before each name
    #[arg(long)]
    show_kind: bool,
    /// Add a column for each of these labels
    #[arg(short = 'L', long, value_name = "KEY", value_delimiter = ',')]
    label_columns: Vec<String>,
    /// Sort by what a path leads to, as in .metadata.creationTimestamp
    #[arg(long, value_name = "PATH", value_parser = jsonpath::Path::parse)]
    sort_by: Option<jsonpath::Path>,
    /// Go on with what changes
    #[arg(short = 'w', long)]
    watch: bool,
    /// Only what changes from now on
    #[arg(long)]
    watch_only: bool,
    /// Say of each change whether it was added, modified or deleted
    #[arg(long)]
    output_watch_events: bool,
    /// It is no error if a named object is not there
    #[arg(long)]
    ignore_not_found: bool,
}

pub async fn run(args: GetArgs, session: &Session) -> Result<()> {
    // No objects: what nodes know of each other now.
    if let [peers] = args.which.args.as_slice()
        && matches!(peers.as_str(), "peers" | "peer")
    {
        return super::peers::run(&args.output.clone().unwrap_or_default(), args.no_headers, session).await;
    }
    let mut scope = args.which.scope(args.all_namespaces);
    scope.fields = args.field_selector.clone().unwrap_or_default();
    scope.check()?;
    let targets = args.which.targets(session)?;
    if args.all_namespaces
        && args.which.files.filename.is_empty()
        && targets.iter().any(|(target, _)| target.name.is_some())
    {
        bail!("a name is of one namespace: say -n NAMESPACE instead of -A");
    }
    if args.watch || args.watch_only {
        return watch(&args, scope, &targets, session).await;
    }
    let mut tally = Tally::default();
    let mut groups: Vec<(&'static KindInfo, Vec<Doc>)> = Vec::new();
    for (target, namespace) in &targets {
        let found = match &target.name {
            Some(_) if !scope.labels.is_empty() => bail!("name objects or give a selector, not both"),
            Some(name) => match session.get(&targets::key(target.kind, namespace, name)).await {
                Ok(doc) => vec![doc],
                Err(error) if args.ignore_not_found && crate::failure::is_not_found(&error) => Vec::new(),
                Err(error) => {
                    tally.fail(&error);
                    Vec::new()
                }
            },
            None => tally
                .note(session.list(&scope.selection(target.kind, session)).await)
                .map_or(vec![], |l| l.objects),
        };
        match groups.last_mut() {
            Some((kind, docs)) if *kind == target.kind => docs.extend(found),
            _ => groups.push((target.kind, found)),
        }
    }
    if let Some(path) = &args.sort_by {
        groups.iter_mut().for_each(|(_, docs)| sort(docs, path));
    }
    // Where something failed, that nothing was found says nothing.
    if tally.failed() && groups.iter().all(|(_, docs)| docs.is_empty()) {
        return tally.finish();
    }
    let single = matches!(targets.as_slice(), [(Target { name: Some(_), .. }, _)]);
    show(&args, &groups, single, session)?;
    tally.finish()
}

fn show(args: &GetArgs, groups: &[(&'static KindInfo, Vec<Doc>)], single: bool, session: &Session) -> Result<()> {
    let format = args.output.clone().unwrap_or_default();
    if !format.is_table() {
        let docs: Vec<Doc> = groups.iter().flat_map(|(_, docs)| docs.iter().cloned()).collect();
        match docs.as_slice() {
            [] if single => {}
            [only] if single => print!("{}", format.one(only)?),
            docs => print!("{}", format.many(docs, !args.no_headers)?),
        }
        return Ok(());
    }
    let mut first = true;
    for (kind, docs) in groups.iter().filter(|(_, docs)| !docs.is_empty()) {
        if !std::mem::take(&mut first) {
            println!();
        }
        print!(
            "{}",
            listing(kind, docs, &args.dress(&format, groups.len() > 1, kind), Moment::now())
        );
    }
    if first && !single {
        let namespaced = groups.iter().any(|(kind, _)| kind.namespaced);
        match namespaced && !args.all_namespaces {
            true => eprintln!("No resources found in {} namespace.", session.namespace),
            false => eprintln!("No resources found"),
        }
    }
    Ok(())
}

impl GetArgs {
    fn dress(&self, format: &Format, several: bool, kind: &KindInfo) -> Dress {
        Dress {
            wide: *format == Format::Wide,
            namespace: self.all_namespaces && kind.namespaced,
            no_headers: self.no_headers,
            show_labels: self.show_labels,
            label_columns: self.label_columns.clone(),
            show_kind: several || self.show_kind,
            events: self.output_watch_events && (self.watch || self.watch_only),
            colours: terminal::colours(),
        }
    }
}

/// A table of objects of one kind.
pub fn listing(kind: &KindInfo, docs: &[Doc], dress: &Dress, now: Moment) -> String {
    let mut table = table::for_kind(kind, dress);
    for doc in docs {
        table.row(table::cells(doc, "", dress, now));
    }
    table.to_text(!dress.no_headers)
}

/// Numbers as numbers, everything else as text; what has nothing there comes first.
fn sort(docs: &mut [Doc], path: &jsonpath::Path) {
    docs.sort_by(|a, b| {
        let first = |doc: &'_ Doc| path.find(&doc.value).first().map(|value| (*value).clone());
        compare(first(a).as_ref(), first(b).as_ref())
    });
}

fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => sampan_api::quantity::millis(text)
            .ok()
            .map(|millis| millis as f64 / 1000.0),
        _ => None,
    };
    match (a, b) {
        (Some(a), Some(b)) => match (number(a), number(b)) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => jsonpath::show(a).cmp(&jsonpath::show(b)),
        },
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Lines as objects change.
struct Lines {
    format: Format,
    dress: Dress,
    table: Table,
    headers: bool,
    event_names: bool,
}

async fn watch(args: &GetArgs, mut scope: Scope, targets: &[(Target, String)], session: &Session) -> Result<()> {
    let [(target, namespace)] = targets else {
        bail!("a watch is of one type, or of one object");
    };
    if args.sort_by.is_some() && args.watch_only {
        bail!("--sort-by has nothing to sort with --watch-only");
    }
    let mut session = session.clone();
    if let Some(name) = &target.name {
        session.namespace.clone_from(namespace);
        // What is not there cannot be watched, unless the user says that it may come.
        if !args.ignore_not_found {
            session.get(&targets::key(target.kind, namespace, name)).await?;
        }
        let comma = if scope.fields.is_empty() { "" } else { "," };
        scope.fields = format!("{}{comma}metadata.name={name}", scope.fields);
    }
    let selection = scope.selection(target.kind, &session);
    let revision = if args.watch_only {
        session.list(&selection).await?.revision
    } else {
        0
    };
    let format = args.output.clone().unwrap_or_default();
    let dress = args.dress(&format, false, target.kind);
    let mut lines = Lines {
        table: table::for_kind(target.kind, &dress),
        headers: !dress.no_headers,
        event_names: dress.events,
        format,
        dress,
    };
    let mut watcher = session.watch(selection, revision);
    let mut gathered: Option<Vec<Doc>> = (!args.watch_only).then(Vec::new);
    loop {
        let (event, doc) = match watcher.next().await? {
            Seen::Added(doc) => ("ADDED", doc),
            Seen::Modified(doc) => ("MODIFIED", doc),
            Seen::Deleted(doc) => ("DELETED", doc),
            Seen::Restarted => continue,
            Seen::Synced(_) => {
                if let Some(mut docs) = gathered.take() {
                    args.sort_by.iter().for_each(|path| sort(&mut docs, path));
                    lines.print(&docs.iter().map(|doc| ("ADDED", doc)).collect::<Vec<_>>())?;
                }
                continue;
            }
        };
        match &mut gathered {
            Some(docs) => docs.push(doc),
            None => lines.print(&[(event, &doc)])?,
        }
    }
}

impl Lines {
    fn print(&mut self, changes: &[(&str, &Doc)]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        if self.format.is_table() {
            let now = Moment::now();
            for (event, doc) in changes {
                self.table.row(table::cells(doc, event, &self.dress, now));
            }
            print!("{}", self.table.take(std::mem::take(&mut self.headers)));
        } else {
            for (event, doc) in changes {
                self.object(event, doc)?;
            }
        }
        terminal::flush();
        Ok(())
    }

    fn object(&mut self, event: &str, doc: &Doc) -> Result<()> {
        let shown = match self.event_names {
            true => Doc {
                kind: doc.kind,
                value: serde_json::json!({"type": event, "object": doc.value}),
            },
            false => doc.clone(),
        };
        match &self.format {
            Format::Yaml => println!("{}---", self.format.one(&shown)?),
            Format::JsonPath(_) => println!("{}", self.format.one(&shown)?),
            Format::Columns(columns) => {
                let text = Format::Columns(columns.clone()).many(&[shown], std::mem::take(&mut self.headers))?;
                print!("{text}");
            }
            _ => print!("{}", self.format.one(&shown)?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sorting_knows_numbers_and_quantities() {
        let order = |a: Value, b: Value| compare(Some(&a), Some(&b));
        assert_eq!(order(json!(9), json!(10)), Ordering::Less);
        assert_eq!(order(json!("64Mi"), json!("1Gi")), Ordering::Less);
        assert_eq!(order(json!("b"), json!("a")), Ordering::Greater);
        assert_eq!(compare(None, Some(&json!(1))), Ordering::Less);
    }
}
