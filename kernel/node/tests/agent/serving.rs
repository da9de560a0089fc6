//! Logs and images, asked of the node.
use crate::support::{Bench, SLEEP};
use sampan_api::rpc::{self, runtime_client::RuntimeClient};
use std::time::Duration;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

pub async fn client(bench: &Bench, name: &str, group: &str) -> RuntimeClient<Channel> {
    let (certificate, key) = bench.plane.authority.issue(name, group);
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&bench.config.ca_pem))
        .identity(Identity::from_pem(certificate, key));
    let address = format!("https://{}", bench.agent.as_ref().unwrap().serves());
    let channel = Endpoint::from_shared(address)
        .unwrap()
        .tls_config(tls)
        .unwrap()
        .connect()
        .await
        .unwrap();
    RuntimeClient::new(channel)
}

pub fn logs_of(pod: &str) -> rpc::LogsRequest {
    rpc::LogsRequest {
        namespace: "default".into(),
        pod: pod.into(),
        ..rpc::LogsRequest::default()
    }
}

async fn read(client: &mut RuntimeClient<Channel>, request: rpc::LogsRequest) -> Result<String, String> {
    let mut stream = client
        .logs(request)
        .await
        .map_err(|status| status.message().to_owned())?
        .into_inner();
    let mut text = Vec::new();
    while let Some(chunk) = stream.message().await.map_err(|status| status.message().to_owned())? {
        text.extend_from_slice(&chunk.data);
    }
    Ok(String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_read_and_followed() {
    let Some(bench) = Bench::start().await else { return };
    let mut admin = client(&bench, "admin", "system:masters").await;
    bench.create_script(
        "web",
        "OnFailure",
        "for i in 1 2 3; do echo line $i; done; sleep 0.6; echo last; exit 0",
    );
    bench.plane.until_phase("web", "Running").await;
    let follow = read(
        &mut admin.clone(),
        rpc::LogsRequest {
            follow: true,
            ..logs_of("web")
        },
    )
    .await
    .unwrap();
    assert_eq!(
        follow, "line 1\nline 2\nline 3\nlast\n",
        "and it ends with the container"
    );
    bench.plane.until_phase("web", "Succeeded").await;
    let tail = read(
        &mut admin,
        rpc::LogsRequest {
            tail: Some(2),
            timestamps: true,
            ..logs_of("web")
        },
    )
    .await
    .unwrap();
    let lines: Vec<_> = tail.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].ends_with("Z line 3") && lines[0].starts_with("20"),
        "{tail}"
    );
    assert!(
        read(&mut admin, logs_of("none"))
            .await
            .unwrap_err()
            .contains("pods \"none\" not found")
    );
    let previous = rpc::LogsRequest {
        previous: true,
        ..logs_of("web")
    };
    assert!(
        read(&mut admin, previous.clone())
            .await
            .unwrap_err()
            .contains("previous terminated container")
    );

    bench.create_script("crash", "Always", "echo run; exit 1");
    bench
        .plane
        .until("pods", "crash", |pod| {
            pod["status"]["containerStatuses"][0]["restartCount"] == 1
        })
        .await;
    let previous = rpc::LogsRequest {
        pod: "crash".into(),
        ..previous
    };
    assert_eq!(read(&mut admin, previous).await.unwrap(), "run\n");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_masters_are_answered() {
    let Some(bench) = Bench::start().await else { return };
    let mut other = client(&bench, "system:node:n2", "system:nodes").await;
    let error = read(&mut other, logs_of("web")).await.unwrap_err();
    assert!(error.contains("user \"system:node:n2\" may not"), "{error}");
    assert!(other.list_images(rpc::ListImagesRequest::default()).await.is_err());
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_loaded_listed_and_removed_unless_used() {
    let Some(bench) = Bench::start().await else { return };
    let mut admin = client(&bench, "admin", "system:masters").await;
    bench.create_script("web", "Always", SLEEP);
    bench.plane.until_phase("web", "Running").await;
    let list = admin
        .list_images(rpc::ListImagesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .images;
    assert_eq!(
        (list[0].name.as_str(), list[0].kind.as_str(), list[0].node.as_str()),
        ("busybox:1", "container", "n1")
    );
    let remove = |name: &str| rpc::RemoveImageRequest {
        image: name.into(),
        node: String::new(),
    };
    let error = admin.remove_image(remove("busybox:1")).await.unwrap_err();
    assert!(error.message().contains("in use"), "{}", error.message());

    let archive = bench.dir.path().join("other.tar");
    let folder = bench.dir.path().join("other");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), "x").unwrap();
    let source = sampan_container::BuildSource::Folder {
        path: folder,
        config: Box::default(),
    };
    sampan_container::build_archive(&"other:1".parse().unwrap(), source, &archive)
        .await
        .unwrap();
    let bytes = std::fs::read(&archive).unwrap();
    let chunks: Vec<_> = bytes
        .chunks(4096)
        .map(|c| rpc::LoadImageRequest {
            data: c.to_vec().into(),
            node: String::new(),
        })
        .collect();
    let loaded = admin.load_image(tokio_stream::iter(chunks)).await.unwrap().into_inner();
    assert_eq!(loaded.images, ["other:1"]);
    assert_eq!(
        admin
            .remove_image(remove("other:1"))
            .await
            .unwrap()
            .into_inner()
            .removed,
        ["other:1"]
    );
    assert!(admin.remove_image(remove("other:1")).await.is_err());

    bench.plane.delete("pods", "web", 5);
    bench.plane.until_gone("web").await;
    for _ in 0..100 {
        if admin.remove_image(remove("busybox:1")).await.is_ok() {
            return bench.finish().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("an image that nothing uses cannot be removed");
}
