//! Plugins: which one decides, and what is not let in. Whether they decide well is the business of other tests.
use crate::bench::{Bench, config};
use sampan_api::{
    ApiError, Reason,
    plugin::{Mode, World},
    rpc::{self, plugins_client::PluginsClient},
};
use sampan_server::{BUILTIN, BuiltinPlugin, Server};
use serde_json::json;

fn builtin(name: &'static str, bytes: &'static [u8], mode: Mode) -> BuiltinPlugin {
    BuiltinPlugin {
        name,
        world: World::Scheduler,
        slot: "test-slot",
        bytes,
        mode,
    }
}

async fn start(plugins: &[BuiltinPlugin], dir: tempfile::TempDir) -> Bench {
    let mut config = config(dir.path());
    config.builtin_plugins = plugins.to_vec();
    Bench {
        server: Some(Server::start(config).await.unwrap()),
        dir,
    }
}

/// The modes of some plugins.
async fn modes(bench: &Bench, names: [&str; 3]) -> [String; 3] {
    let mut client = bench.objects();
    let mut modes = names.map(str::to_owned);
    for mode in &mut modes {
        let object = client.get("plugins.sampan.dev", mode).await.unwrap();
        *mode = object["spec"]["mode"].as_str().unwrap().to_owned();
    }
    modes
}

fn named(name: &str) -> rpc::PluginRequest {
    rpc::PluginRequest { name: name.to_owned() }
}

/// A scheduler that works, made unlike all others by a custom section.
fn scheduler(tag: &str) -> &'static [u8] {
    let spread = sampan_builtin::component(sampan_builtin::PLUGINS, "spread").unwrap();
    let length = u8::try_from(tag.len()).unwrap();
    let section = [&[0, length + 1, length], tag.as_bytes()].concat();
    Vec::leak([spread, &section].concat())
}

fn three() -> [BuiltinPlugin; 3] {
    let standby = Mode::Standby;
    [
        builtin("a", scheduler("a"), Mode::Active),
        builtin("b", scheduler("b"), standby),
        builtin("c", scheduler("c"), standby),
    ]
}

#[tokio::test]
async fn modes_change_together() {
    let bench = start(&three(), tempfile::tempdir().unwrap()).await;
    let mut plugins = PluginsClient::new(bench.admin());
    plugins.activate(named("b")).await.unwrap();
    assert_eq!(modes(&bench, ["a", "b", "c"]).await, ["LastGood", "Active", "Standby"]);
    plugins.activate(named("c")).await.unwrap();
    assert_eq!(modes(&bench, ["a", "b", "c"]).await, ["Standby", "LastGood", "Active"]);
    let now = plugins.rollback(named("c")).await.unwrap().into_inner();
    assert_eq!(now.key.unwrap().name, "b");
    assert_eq!(modes(&bench, ["a", "b", "c"]).await, ["Standby", "Active", "LastGood"]);
    plugins.shadow(named("a")).await.unwrap();
    assert_eq!(modes(&bench, ["a", "b", "c"]).await, ["Shadow", "Active", "LastGood"]);

    let refused = |status: tonic::Status| assert_eq!(ApiError::from(status).reason, Reason::Conflict);
    refused(plugins.shadow(named("b")).await.unwrap_err());
    refused(plugins.rollback(named("c")).await.unwrap_err());
    let removal = |name: &str, force| rpc::RemovePluginRequest {
        name: name.to_owned(),
        force,
    };
    refused(plugins.remove(removal("b", false)).await.unwrap_err());
    plugins.remove(removal("a", false)).await.unwrap();
    let error = ApiError::from(plugins.activate(named("a")).await.unwrap_err());
    assert_eq!(error.reason, Reason::NotFound);
    let digest = sampan_state::digest_of(scheduler("a"));
    assert!(
        bench.server().replica().snapshot().blob(&digest).is_none(),
        "its bytes went with it"
    );
    assert!(
        bench
            .server()
            .replica()
            .snapshot()
            .blob(&sampan_state::digest_of(scheduler("b")))
            .is_some()
    );
    let figures = plugins.describe(named("b")).await.unwrap().into_inner();
    assert_eq!(figures.object.unwrap().key.unwrap().name, "b");
    plugins.remove(removal("b", true)).await.unwrap();
    let error = ApiError::from(plugins.describe(named("b")).await.unwrap_err());
    assert_eq!(error.reason, Reason::NotFound);
    bench.stop().await;
}

#[tokio::test]
async fn two_at_once_leave_one_active() {
    let bench = start(&three(), tempfile::tempdir().unwrap()).await;
    let calls = (0..12).map(|i| {
        let mut plugins = PluginsClient::new(bench.admin());
        tokio::spawn(async move { plugins.activate(named(["a", "b", "c"][i % 3])).await })
    });
    for result in futures::future::join_all(calls).await {
        let result = result.unwrap();
        assert!(
            result.is_ok() || result.as_ref().unwrap_err().code() == tonic::Code::Aborted,
            "{result:?}"
        );
    }
    let modes = modes(&bench, ["a", "b", "c"]).await;
    assert_eq!(modes.iter().filter(|mode| *mode == "Active").count(), 1, "{modes:?}");
    bench.stop().await;
}

#[tokio::test]
async fn a_newer_binary_brings_newer_plugins_unless_they_are_the_users() {
    let bench = start(
        &[
            builtin("a", scheduler("one"), Mode::Active),
            builtin("b", scheduler("one b"), Mode::Standby),
        ],
        tempfile::tempdir().unwrap(),
    )
    .await;
    let user = sampan_state::digest_of(scheduler("theirs"));
    bench
        .server()
        .replica()
        .put_blob(bytes::Bytes::from_static(scheduler("theirs")))
        .await
        .unwrap();
    let patch = json!({"spec": {"digest": user}});
    bench
        .objects()
        .patch("plugins.sampan.dev", "b", rpc::PatchType::Merge, patch)
        .await
        .unwrap();
    let Bench { server, dir } = bench;
    server.unwrap().shutdown().await;
    let bench = start(
        &[
            builtin("a", scheduler("two"), Mode::Standby),
            builtin("b", scheduler("two b"), Mode::Standby),
        ],
        dir,
    )
    .await;
    let mut client = bench.objects();
    let a = client.get("plugins.sampan.dev", "a").await.unwrap();
    assert_eq!(a["spec"]["digest"], sampan_state::digest_of(scheduler("two")));
    assert_eq!(
        (&a["spec"]["mode"], &a["metadata"]["annotations"][BUILTIN]),
        (&json!("Active"), &a["spec"]["digest"])
    );
    assert_eq!(
        client.get("plugins.sampan.dev", "b").await.unwrap()["spec"]["digest"],
        user
    );
    bench.stop().await;
}

#[tokio::test]
async fn what_is_no_plugin_is_not_let_in() {
    let bench = start(&three(), tempfile::tempdir().unwrap()).await;
    let mut plugins = PluginsClient::new(bench.admin());
    let header = |name: &str| rpc::PluginHeader {
        name: name.to_owned(),
        ..Default::default()
    };
    let send = |header: Option<rpc::PluginHeader>, data: &[u8]| {
        futures::stream::iter([rpc::PluginChunk {
            header,
            data: data.to_vec().into(),
        }])
    };
    let before = bench.server().replica().snapshot().revision();
    let cases = [
        (send(Some(header("x")), b"not wasm"), "do not begin as WebAssembly"),
        (send(Some(header("x")), b"\0asm\x01\0\0\0"), "core module"),
        (send(Some(header("X!")), b""), "lower-case"),
        (send(None, b"abc"), "header"),
        (
            send(
                Some(rpc::PluginHeader {
                    digest: "sha256:00".to_owned(),
                    ..header("x")
                }),
                b"abc",
            ),
            "was expected",
        ),
        (
            send(
                Some(rpc::PluginHeader {
                    config: "{".to_owned(),
                    ..header("x")
                }),
                b"abc",
            ),
            "not valid JSON",
        ),
        (
            send(
                Some(rpc::PluginHeader {
                    grants: vec!["wasi:clocks".to_owned()],
                    ..header("x")
                }),
                b"abc",
            ),
            "cannot be granted",
        ),
        (
            send(
                Some(rpc::PluginHeader {
                    world: "storage".to_owned(),
                    ..header("x")
                }),
                b"abc",
            ),
            "is no world",
        ),
        (send(Some(header("a")), b"abc"), "already exists"),
    ];
    for (pieces, expected) in cases {
        let error = ApiError::from(plugins.load(pieces).await.unwrap_err());
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
    assert_eq!(bench.server().replica().snapshot().revision(), before);
    bench.stop().await;
}

#[tokio::test]
async fn what_is_too_large_or_made_by_hand_is_not_let_in() {
    let bench = start(&three(), tempfile::tempdir().unwrap()).await;
    let mut plugins = PluginsClient::new(bench.admin());
    let header = |name: &str| rpc::PluginHeader {
        name: name.to_owned(),
        ..Default::default()
    };
    let before = bench.server().replica().snapshot().revision();
    let huge = (0..9).map(|i| rpc::PluginChunk {
        header: (i == 0).then(|| header("x")),
        data: vec![0; 8 << 20].into(),
    });
    let error = ApiError::from(
        plugins
            .load(futures::stream::iter(huge.collect::<Vec<_>>()))
            .await
            .unwrap_err(),
    );
    assert_eq!(error.reason, Reason::TooLarge, "{error}");
    let piece = rpc::PluginChunk {
        header: Some(header("")),
        data: b"not wasm"[..].into(),
    };
    let found = plugins
        .inspect(futures::stream::iter([piece]))
        .await
        .unwrap()
        .into_inner();
    assert!(!found.problems.is_empty());
    let by_hand = json!({"apiVersion": "sampan.dev/v1", "kind": "Plugin", "metadata": {"name": "x"},
        "spec": {"world": "scheduler", "digest": "sha256:none", "slot": "test-slot", "mode": "Active"}});
    let error = bench.objects().create(by_hand).await.unwrap_err();
    let fields: Vec<_> = error.causes.iter().map(|cause| cause.field.as_str()).collect();
    assert_eq!(fields, ["spec.digest", "spec.mode"]);
    assert_eq!(bench.server().replica().snapshot().revision(), before);
    bench.stop().await;
}

#[tokio::test]
async fn a_plugin_is_loaded_stands_by_and_is_replaced_when_asked() {
    let bench = start(&three(), tempfile::tempdir().unwrap()).await;
    let mut plugins = PluginsClient::new(bench.admin());
    let pieces = |bytes: &'static [u8], replace: bool| {
        let header = rpc::PluginHeader {
            name: "new".to_owned(),
            slot: "test-slot".to_owned(),
            replace,
            ..Default::default()
        };
        let first = rpc::PluginChunk {
            header: Some(header),
            data: bytes::Bytes::new(),
        };
        let rest = bytes.chunks(10_000).map(|data| rpc::PluginChunk {
            header: None,
            data: data.into(),
        });
        futures::stream::iter(std::iter::once(first).chain(rest).collect::<Vec<_>>())
    };
    let loaded = crate::bench::json_of(&plugins.load(pieces(scheduler("v1"), false)).await.unwrap().into_inner());
    assert_eq!(
        (&loaded["spec"]["mode"], &loaded["spec"]["world"]),
        (&json!("Standby"), &json!("scheduler"))
    );
    assert_eq!(loaded["spec"]["digest"], sampan_state::digest_of(scheduler("v1")));
    assert_eq!(loaded["status"]["phase"], "Ready");
    assert!(!loaded["status"]["summary"].as_str().unwrap().is_empty(), "{loaded}");
    plugins.load(pieces(scheduler("v1"), false)).await.unwrap();
    let error = ApiError::from(plugins.load(pieces(scheduler("v2"), false)).await.unwrap_err());
    assert_eq!(error.reason, Reason::AlreadyExists, "{error}");
    plugins.activate(named("new")).await.unwrap();
    let replaced = crate::bench::json_of(&plugins.load(pieces(scheduler("v2"), true)).await.unwrap().into_inner());
    assert_eq!(replaced["spec"]["mode"], "Active", "a swap in place");
    assert!(
        bench
            .server()
            .replica()
            .snapshot()
            .blob(&sampan_state::digest_of(scheduler("v1")))
            .is_none()
    );
    assert_eq!(
        modes(&bench, ["a", "b", "new"]).await,
        ["LastGood", "Standby", "Active"]
    );
    for (name, bytes) in sampan_builtin::HOSTILE {
        let found = plugins.inspect(pieces(bytes, false)).await.unwrap().into_inner();
        assert!(found.digest.starts_with("sha256:"), "{name}");
    }
    bench.stop().await;
}
