//! Watches: from the beginning, from a revision, and from one that is forgotten.
use crate::bench::{Bench, config_map, json_of, selection};
use sampan_api::{
    Reason,
    rpc::{self, EventType, PatchType},
};
use serde_json::json;
use std::time::Duration;

async fn next(stream: &mut tonic::Streaming<rpc::WatchEvent>) -> rpc::WatchEvent {
    tokio::time::timeout(Duration::from_secs(10), stream.message())
        .await
        .expect("an event in time")
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn begins_with_what_there_is_and_resumes_where_it_ended() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    client.create(config_map("a", "1")).await.unwrap();
    let request = rpc::WatchRequest {
        selection: selection("configmaps"),
        revision: 0,
    };
    let mut watch = client.0.watch(request).await.unwrap().into_inner();
    let added = next(&mut watch).await;
    assert_eq!(
        (added.r#type(), added.object.unwrap().key.unwrap().name.as_str()),
        (EventType::Added, "a")
    );
    let bookmark = next(&mut watch).await;
    assert_eq!(bookmark.r#type(), EventType::Bookmark);
    client.create(config_map("b", "1")).await.unwrap();
    assert_eq!(next(&mut watch).await.r#type(), EventType::Added);
    drop(watch);

    client
        .patch("cm", "b", PatchType::Merge, json!({"data": {"key": "2"}}))
        .await
        .unwrap();
    client.delete("cm", "a").await.unwrap();
    let request = rpc::WatchRequest {
        selection: selection("configmaps"),
        revision: bookmark.revision,
    };
    let mut watch = client.0.watch(request).await.unwrap().into_inner();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = next(&mut watch).await;
        seen.push((event.r#type(), event.object.unwrap().key.unwrap().name, event.revision));
    }
    let kinds: Vec<_> = seen.iter().map(|(kind, name, _)| (*kind, name.as_str())).collect();
    assert_eq!(
        kinds,
        [
            (EventType::Added, "b"),
            (EventType::Modified, "b"),
            (EventType::Deleted, "a")
        ]
    );
    assert!(seen.windows(2).all(|pair| pair[0].2 < pair[1].2), "{seen:?}");
    bench.stop().await;
}

#[tokio::test]
async fn a_selector_adds_and_deletes() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    client.create(config_map("a", "1")).await.unwrap();
    let selection = rpc::Selection {
        label_selector: "on=yes".to_owned(),
        ..selection("configmaps").unwrap()
    };
    let request = rpc::WatchRequest {
        selection: Some(selection),
        revision: 0,
    };
    let mut watch = client.0.watch(request).await.unwrap().into_inner();
    assert_eq!(next(&mut watch).await.r#type(), EventType::Bookmark);
    for (patch, expected) in [
        (json!({"metadata": {"labels": {"on": "yes"}}}), EventType::Added),
        (json!({"data": {"key": "2"}}), EventType::Modified),
        (json!({"metadata": {"labels": {"on": null}}}), EventType::Deleted),
    ] {
        client.patch("cm", "a", PatchType::Merge, patch).await.unwrap();
        let event = next(&mut watch).await;
        assert_eq!(event.r#type(), expected);
        assert_eq!(
            json_of(event.object.as_ref().unwrap())["metadata"]["labels"]["on"],
            "yes",
            "as it was when selected"
        );
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_revision_that_is_gone_or_not_yet_is_expired() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let request = rpc::WatchRequest {
        selection: selection("cm"),
        revision: 1_000_000,
    };
    let error = sampan_api::ApiError::from(client.0.watch(request).await.unwrap_err());
    assert_eq!(error.reason, Reason::Expired, "{error}");
    bench.stop().await;
}

#[tokio::test]
async fn a_revision_that_was_compacted_away_is_expired() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    client.create(config_map("a", "1")).await.unwrap();
    let replica = bench.server().replica();
    let old = replica.snapshot().revision();
    let key = sampan_api::Key::new("configmaps", "default", "a");
    let mut turn = 0;
    while replica.snapshot().compacted() <= old {
        turn += 1;
        assert!(turn < 40, "events are forgotten some time");
        let plan = |i: usize| {
            let patch = json!({"data": {"key": format!("{turn}-{i}")}});
            sampan_api::Plan::from(sampan_api::Write::new(key.clone(), sampan_api::Operation::Merge(patch)))
        };
        replica.commit((0..4000).map(plan).collect()).await.unwrap();
    }
    let request = |revision| rpc::WatchRequest {
        selection: selection("cm"),
        revision,
    };
    let error = sampan_api::ApiError::from(client.0.watch(request(old)).await.unwrap_err());
    assert_eq!(error.reason, Reason::Expired, "{error}");
    assert!(error.message.contains("list again"), "{error}");
    let now = replica.snapshot().revision();
    assert!(client.0.watch(request(now)).await.is_ok());
    bench.stop().await;
}

#[tokio::test]
async fn a_server_that_closes_ends_its_watches() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let request = rpc::WatchRequest {
        selection: selection("cm"),
        revision: 0,
    };
    let mut watch = client.0.watch(request).await.unwrap().into_inner();
    assert_eq!(next(&mut watch).await.r#type(), EventType::Bookmark);
    let ended = tokio::spawn(async move { watch.message().await });
    tokio::time::timeout(Duration::from_secs(10), bench.stop())
        .await
        .expect("it closes in time");
    assert!(ended.await.unwrap().is_err());
}
