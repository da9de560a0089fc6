//! Saving a state of a hundred megabytes to a file and beginning a new cluster with it, by each one's own tool.
use crate::{
    figure::{Figure, perhaps_beside},
    peer::{Store, etcd::Etcd, fill, have, sampan::Sampan},
};
use anyhow::{Result, ensure};
use std::{
    fs::File,
    io::Write,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

const OBJECTS: usize = 100_000;
const MB: f64 = 1e6;

/// MB/s.
struct Speed {
    save: f64,
    restore: f64,
}

pub async fn run() -> Result<Vec<Figure>> {
    let (ours, bytes) = sampan().await?;
    let theirs = match have("etcd") && have("etcdctl") {
        true => Some(etcd().await?),
        false => None,
    };
    let floor = written(bytes)?;
    let figure = |case: &str, of: fn(&Speed) -> f64| Figure {
        lower_is_better: false,
        floor: Some(floor),
        peer: perhaps_beside(Etcd::NAME, theirs.as_ref().map(of)),
        ..Figure::new("snapshot", &format!("{:.0} MB, {case}", bytes / MB), of(&ours), "MB/s")
    };
    Ok(vec![
        figure("save", |speed| speed.save),
        figure("restore", |speed| speed.restore),
    ])
}

async fn sampan() -> Result<(Speed, f64)> {
    let store = Sampan::start(1).await?;
    fill(&store, OBJECTS).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (file, data) = (store.home.path().join("snapshot"), store.home.path().join("restored"));
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let began = Instant::now();
    store.run(&["snapshot", "save", &text(&file)])?;
    let (saved, bytes) = (began.elapsed(), file.metadata()?.len() as f64);
    let began = Instant::now();
    store.run(&["snapshot", "restore", &text(&file), "--data-dir", &text(&data)])?;
    let speed = Speed {
        save: bytes / MB / saved.as_secs_f64(),
        restore: bytes / MB / began.elapsed().as_secs_f64(),
    };
    Ok((speed, bytes))
}

async fn etcd() -> Result<Speed> {
    let store = Etcd::start(1).await?;
    fill(&store, OBJECTS).await?;
    let (file, data) = (store.home.path().join("snapshot"), store.home.path().join("restored"));
    let run = |command: &mut Command| -> Result<Duration> {
        let began = Instant::now();
        let output = command.env("ETCDCTL_API", "3").output()?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "etcdctl: {errors}");
        Ok(began.elapsed())
    };
    let mut save = Command::new("etcdctl");
    save.args(["--endpoints", &store.endpoint(0), "snapshot", "save"])
        .arg(&file);
    let saved = run(&mut save)?;
    let bytes = file.metadata()?.len() as f64;
    let mut restore = Command::new("etcdctl");
    restore
        .args(["snapshot", "restore"])
        .arg(&file)
        .arg("--data-dir")
        .arg(&data);
    let restored = run(&mut restore)?;
    Ok(Speed {
        save: bytes / MB / saved.as_secs_f64(),
        restore: bytes / MB / restored.as_secs_f64(),
    })
}

/// What the disk takes of plain bytes, MB/s.
fn written(bytes: f64) -> Result<f64> {
    let home = tempfile::tempdir()?;
    let mut file = File::create(home.path().join("plain"))?;
    let piece = vec![1; 1 << 20];
    let began = Instant::now();
    for _ in 0..(bytes / piece.len() as f64) as usize {
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    Ok(bytes / MB / began.elapsed().as_secs_f64())
}
