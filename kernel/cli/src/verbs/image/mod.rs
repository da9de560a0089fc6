//! `image`: what the nodes have, and how it gets there.
mod build;
mod credentials;
mod load;

use crate::{
    cli::Global,
    print::{Format, Moment, Table, columns::short_digest, format, yaml},
    progress::{self, size},
    session::Session,
    terminal::warn_of,
};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use indicatif::{MultiProgress, ProgressBar};
use sampan_api::rpc::{self, ImageProgress};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const EXAMPLES: &str = "Examples:
  sampan image build ./site -t web:1 --entrypoint /server
  sampan image build job.wasm -t job:1
  sampan image load -i nginx.tar
  sampan image pull registry.example/nginx:1.28
  sampan image ls
  sampan image rm web:1";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ImageArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Let the nodes fetch an image from its registry
    #[command(after_help = "Example:\n  sampan image pull registry.example/nginx:1.28 --node n1")]
    Pull(PullArgs),
    /// Give the nodes an OCI or Docker archive
    #[command(after_help = "Examples:\n  sampan image load -i nginx.tar\n  docker save nginx | sampan image load")]
    Load(load::LoadArgs),
    /// List the images of the nodes
    #[command(visible_alias = "list", after_help = "Example:\n  sampan image ls -o json")]
    Ls(ListArgs),
    /// Take an image off the nodes
    #[command(visible_alias = "remove", after_help = "Example:\n  sampan image rm web:1")]
    Rm(RemoveArgs),
    /// Pack a folder or a Wasm component into an image
    #[command(after_help = build::EXAMPLES)]
    Build(build::BuildArgs),
}

#[derive(Debug, Args)]
struct PullArgs {
    image: String,
    /// Only this node [default: all]
    #[arg(long, default_value = "")]
    node: String,
    /// Ask the registry even if the image is there
    #[arg(long)]
    always: bool,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only this node [default: all]
    #[arg(long, default_value = "")]
    node: String,
    /// wide, yaml, json, jsonpath=…
    #[arg(short = 'o', long, value_name = "FORMAT", value_parser = Format::parse)]
    output: Option<Format>,
    /// Only digests
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    #[arg(required = true)]
    images: Vec<String>,
    /// Only from this node [default: all]
    #[arg(long, default_value = "")]
    node: String,
}

pub async fn run(args: ImageArgs, global: &Global) -> Result<()> {
    match args.verb {
        Verb::Pull(args) => pull(args, &global.session()?).await,
        Verb::Load(args) => load::run(args, &global.session()?).await,
        Verb::Ls(args) => list(args, &global.session()?).await,
        Verb::Rm(args) => remove(args, &global.session()?).await,
        Verb::Build(args) => build::run(args, global).await,
    }
}

async fn pull(args: PullArgs, session: &Session) -> Result<()> {
    let reference: sampan_container::Reference = args.image.parse().context("no name of an image")?;
    let auth = credentials::entry(&reference)?.unwrap_or_default();
    let request = rpc::PullImageRequest {
        image: args.image.clone(),
        node: args.node,
        auth,
        always: args.always,
    };
    let mut stream = session
        .once(async { session.runtime().pull_image(request).await })
        .await?;
    let bars = MultiProgress::new();
    let mut nodes: BTreeMap<String, ProgressBar> = BTreeMap::new();
    let mut digests = BTreeMap::new();
    while let Some(step) = stream.message().await.map_err(|status| session.error(status))? {
        let bar = nodes
            .entry(step.node.clone())
            .or_insert_with(|| bars.add(progress::bytes(&step.node, 0)));
        draw(bar, &step);
        if !step.digest.is_empty() {
            bar.finish_and_clear();
            digests.insert(step.node.clone(), step.digest);
        }
    }
    if digests.is_empty() {
        bail!("the pull of {} ended without a word", args.image);
    }
    for (node, digest) in digests {
        println!("{} pulled on {node}: {digest}", args.image);
    }
    Ok(())
}

fn draw(bar: &ProgressBar, step: &ImageProgress) {
    bar.set_message(format!("{}: {}", step.node, step.what));
    bar.set_length(step.total_bytes);
    bar.set_position(step.done_bytes);
}

async fn list(args: ListArgs, session: &Session) -> Result<()> {
    let request = rpc::ListImagesRequest { node: args.node };
    let request = &request;
    let rpc::ListImagesResponse { mut images, problems } = session
        .again(|| async { session.runtime().list_images(request.clone()).await })
        .await?;
    warn_of(&problems);
    images.sort_by(|a, b| (&a.name, &a.node).cmp(&(&b.name, &b.node)));
    if args.quiet {
        let digests: std::collections::BTreeSet<_> = images.iter().map(|image| image.digest.as_str()).collect();
        digests.iter().for_each(|digest| println!("{digest}"));
        return Ok(());
    }
    let value = || -> Value {
        let item = |image: &rpc::Image| {
            json!({"name": image.name, "digest": image.digest, "size": image.size, "kind": image.kind,
                "created": image.created, "node": image.node, "platform": image.platform})
        };
        json!({"images": images.iter().map(item).collect::<Vec<_>>()})
    };
    match args.output.unwrap_or_default() {
        Format::Json => print!("{}", format::pretty(&value())),
        Format::Yaml => print!("{}", yaml::to_text(&value())?),
        Format::JsonPath(template) => print!("{}", template.render(&value())),
        Format::Name => images.iter().for_each(|image| println!("{}", image.name)),
        Format::Columns(_) => bail!("images are printed as wide, yaml, json, name or jsonpath=… only"),
        table => print!("{}", rows(&images, table == Format::Wide, Moment::now())),
    }
    Ok(())
}

fn rows(images: &[rpc::Image], wide: bool, now: Moment) -> String {
    let mut headers = vec!["IMAGE", "DIGEST", "KIND", "SIZE", "NODE"];
    headers.extend_from_slice(if wide { &["PLATFORM", "CREATED"] } else { &[] });
    let mut table = Table::new(headers);
    for image in images {
        let digest = if wide {
            image.digest.clone()
        } else {
            short_digest(&image.digest)
        };
        let name = if image.name.is_empty() {
            "<none>".to_owned()
        } else {
            image.name.clone()
        };
        let mut row = vec![name, digest, image.kind.clone(), size(image.size), image.node.clone()];
        if wide {
            // Builds that can be repeated have no time of their own.
            let epoch = image.created.is_empty() || image.created.starts_with("1970-01-01T");
            let created = if epoch {
                "<none>".to_owned()
            } else {
                now.since(&image.created)
            };
            row.extend([image.platform.clone(), created]);
        }
        table.row(row);
    }
    table.to_text(true)
}

async fn remove(args: RemoveArgs, session: &Session) -> Result<()> {
    let mut tally = crate::failure::Tally::default();
    for image in args.images {
        let request = rpc::RemoveImageRequest {
            image: image.clone(),
            node: args.node.clone(),
        };
        let removed = session
            .once(async { session.runtime().remove_image(request).await })
            .await;
        let Some(removed) = tally.note(removed) else { continue };
        removed.removed.iter().for_each(|name| println!("{name} removed"));
        if removed.removed.is_empty() {
            println!("{image} removed");
        }
        println!("{} freed", size(removed.freed_bytes));
    }
    tally.finish()
}
