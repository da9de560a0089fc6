//! `events`: what happened, oldest first, and what happens.
use crate::{
    doc::Doc,
    print::{
        Format, Moment,
        columns::{self, chronology},
        table::{self, Dress, Table},
    },
    session::{Seen, Session},
    targets, terminal,
};
use anyhow::{Result, bail};
use clap::Args;
use sampan_api::rpc;

const EXAMPLES: &str = "Examples:
  sampan events
  sampan events -A --types=Warning
  sampan events --for=deploy/web -w";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EventsArgs {
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only what happened to this object
    #[arg(long = "for", value_name = "TYPE/NAME")]
    about: Option<String>,
    /// Only these: Normal, Warning
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,
    /// Go on with what happens
    #[arg(short = 'w', long)]
    watch: bool,
    /// wide, yaml, json, name, jsonpath=…, custom-columns=…
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
    output: Option<Format>,
    /// Leave the headers out
    #[arg(long)]
    no_headers: bool,
}

/// The events about an object.
pub fn selection(doc_kind: &sampan_api::KindInfo, namespace: &str, name: &str) -> rpc::Selection {
    rpc::Selection {
        resource: "events".to_owned(),
        // Events about objects of the whole cluster are in the default namespace.
        namespace: if doc_kind.namespaced {
            namespace.to_owned()
        } else {
            String::new()
        },
        field_selector: format!("involvedObject.kind={},involvedObject.name={name}", doc_kind.kind),
        ..rpc::Selection::default()
    }
}

pub async fn run(args: EventsArgs, session: &Session) -> Result<()> {
    args.check()?;
    let namespace = if args.all_namespaces {
        ""
    } else {
        session.namespace.as_str()
    };
    let selection = match &args.about {
        None => rpc::Selection {
            resource: "events".into(),
            namespace: namespace.into(),
            ..rpc::Selection::default()
        },
        Some(about) => match targets::parse(std::slice::from_ref(about))?.as_slice() {
            [targets::Target { kind, name: Some(name) }] => selection(kind, namespace, name),
            _ => bail!("cannot read \"{about}\": expected TYPE/NAME, as in deploy/web"),
        },
    };
    let listed = session.list(&selection).await?;
    let mut docs: Vec<Doc> = listed.objects.into_iter().filter(|doc| args.wants(doc)).collect();
    docs.sort_by_key(|event| chronology(&event.value));
    let format = args.output.clone().unwrap_or_default();
    let kind = targets::kind("events")?;
    let dress = Dress {
        wide: format == Format::Wide,
        namespace: args.all_namespaces,
        no_headers: args.no_headers,
        colours: terminal::colours(),
        ..Dress::default()
    };
    if docs.is_empty() && !args.watch && format.is_table() {
        match args.all_namespaces {
            true => eprintln!("No events found"),
            false => eprintln!("No events found in {} namespace.", session.namespace),
        }
        return Ok(());
    }
    let mut lines = table::for_kind(kind, &dress);
    if format.is_table() {
        let now = Moment::now();
        docs.iter().for_each(|doc| row(doc, &dress, now, &mut lines));
        print!("{}", lines.take(!args.no_headers));
    } else {
        print!("{}", format.many(&docs, !args.no_headers)?);
    }
    if !args.watch {
        return Ok(());
    }
    let mut watcher = session.watch(selection, listed.revision);
    loop {
        terminal::flush();
        match watcher.next().await? {
            Seen::Added(doc) | Seen::Modified(doc) if args.wants(&doc) && format.is_table() => {
                row(&doc, &dress, Moment::now(), &mut lines);
                print!("{}", lines.take(false));
            }
            Seen::Added(doc) | Seen::Modified(doc) if args.wants(&doc) => print!("{}", format.one(&doc)?),
            _ => {}
        }
    }
}

/// An event's row, which says how often it repeated: `get events` does not, as with kubectl.
fn row(event: &Doc, dress: &Dress, now: Moment, lines: &mut Table) {
    let mut cells = table::cells(event, "", dress, now);
    let when = usize::from(dress.namespace);
    if let Some(cell) = cells.get_mut(when) {
        *cell = columns::seen(&event.value, now);
    }
    lines.row(cells);
}

impl EventsArgs {
    fn check(&self) -> Result<()> {
        let known = |kind: &String| {
            ["Normal", "Warning"]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(kind))
        };
        match self.types.iter().find(|kind| !known(kind)) {
            Some(kind) => bail!("\"{kind}\" is no type of an event: Normal or Warning"),
            None => Ok(()),
        }
    }

    fn wants(&self, event: &Doc) -> bool {
        let kind = event.text("/type");
        self.types.is_empty() || self.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind))
    }
}
