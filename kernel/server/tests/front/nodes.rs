//! Nodes that fall silent, and what is passed on to them.
use crate::bench::{Bench, pod};
use sampan_api::{
    ApiError, Reason,
    rpc::{self, nodes_client::NodesClient, runtime_client::RuntimeClient, runtime_server::RuntimeServer},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_stream::StreamExt;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, ServerTlsConfig, server::TcpIncoming},
};

fn ready(node: &Value) -> Option<&str> {
    let conditions = node["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == "Ready")?["status"].as_str()
}

async fn register(bench: &Bench, name: &str) {
    register_at(bench, name, 1).await;
}

async fn register_at(bench: &Bench, name: &str, port: u16) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {
        "conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    let operation = Some(rpc::write::Operation::Create(node.to_string().into()));
    let write = rpc::Write {
        key: Some(crate::bench::key("nodes", name)),
        operation,
        expect: 0,
    };
    bench
        .objects()
        .commit(vec![rpc::Plan { writes: vec![write] }], "")
        .await
        .unwrap()
        .remove(0)
        .unwrap();
}

#[tokio::test]
async fn silence_is_written_down_and_heartbeats_are_not() {
    let bench = Bench::start().await;
    register(&bench, "quiet").await;
    register(&bench, "loud").await;
    let beats = tokio_stream::iter(std::iter::repeat_with(|| rpc::HeartbeatRequest {
        node: "loud".to_owned(),
    }))
    .throttle(Duration::from_millis(100));
    let mut answers = NodesClient::new(bench.agent("loud"))
        .heartbeat(beats)
        .await
        .unwrap()
        .into_inner();
    tokio::spawn(async move { while let Ok(Some(_)) = answers.message().await {} });
    let before = bench.server().replica().snapshot().revision();
    let mut client = bench.objects();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if ready(&client.get("nodes", "quiet").await.unwrap()) == Some("Unknown") {
            break;
        }
    }
    let quiet = client.get("nodes", "quiet").await.unwrap();
    assert_eq!(ready(&quiet), Some("Unknown"));
    assert_eq!(quiet["status"]["conditions"][0]["reason"], "NodeStatusUnknown");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(ready(&client.get("nodes", "loud").await.unwrap()), Some("True"));
    assert_eq!(
        bench.server().replica().snapshot().revision(),
        before + 1,
        "one write in all"
    );
    bench.stop().await;
}

#[tokio::test]
async fn what_cannot_be_passed_on_says_why() {
    let bench = Bench::start().await;
    let mut runtime = RuntimeClient::new(bench.admin());
    let mut client = bench.objects();
    let logs = |pod: &str| rpc::LogsRequest {
        pod: pod.to_owned(),
        ..Default::default()
    };
    let error = ApiError::from(
        runtime
            .list_images(rpc::ListImagesRequest::default())
            .await
            .unwrap_err(),
    );
    assert!(error.message.contains("no node yet"), "{error}");
    let error = ApiError::from(runtime.logs(logs("none")).await.unwrap_err());
    assert_eq!(error.reason, Reason::NotFound);
    client.create(pod("waiting", "")).await.unwrap();
    let error = ApiError::from(runtime.logs(logs("waiting")).await.unwrap_err());
    assert!(error.message.contains("not bound to a node yet"), "{error}");
    register(&bench, "away").await;
    client.create(pod("there", "away")).await.unwrap();
    let error = ApiError::from(runtime.logs(logs("there")).await.unwrap_err());
    assert_eq!(error.reason, Reason::Unavailable);
    assert!(
        error.message.contains("node \"away\" cannot be reached at 127.0.0.1:1"),
        "{error}"
    );
    bench.stop().await;
}

/// A node that answers with its name.
struct Echo(&'static str);

type Pieces<T> = futures::stream::Iter<std::vec::IntoIter<Result<T, tonic::Status>>>;

#[tonic::async_trait]
impl rpc::runtime_server::Runtime for Echo {
    type LogsStream = Pieces<rpc::LogsResponse>;
    async fn logs(&self, request: Request<rpc::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let user = request.peer_certs().map_or(0, |certificates| certificates.len());
        let text = format!("{}: {} for {user}", self.0, request.into_inner().pod);
        Ok(Response::new(futures::stream::iter(vec![Ok(rpc::LogsResponse {
            data: text.into(),
        })])))
    }
    type PullImageStream = Pieces<rpc::ImageProgress>;
    async fn pull_image(&self, _: Request<rpc::PullImageRequest>) -> Result<Response<Self::PullImageStream>, Status> {
        let done = rpc::ImageProgress {
            what: "done".to_owned(),
            ..Default::default()
        };
        Ok(Response::new(futures::stream::iter(vec![Ok(done)])))
    }
    async fn load_image(
        &self,
        request: Request<Streaming<rpc::LoadImageRequest>>,
    ) -> Result<Response<rpc::LoadImageResponse>, Status> {
        let (mut pieces, mut bytes) = (request.into_inner(), 0);
        while let Some(piece) = pieces.message().await? {
            bytes += piece.data.len();
        }
        Ok(Response::new(rpc::LoadImageResponse {
            images: vec![format!("{}-{bytes}", self.0)],
        }))
    }
    async fn list_images(
        &self,
        _: Request<rpc::ListImagesRequest>,
    ) -> Result<Response<rpc::ListImagesResponse>, Status> {
        Ok(Response::new(rpc::ListImagesResponse {
            images: vec![rpc::Image {
                name: "i".to_owned(),
                ..Default::default()
            }],
            problems: Vec::new(),
        }))
    }
    type PortForwardStream = Pieces<rpc::PortForwardResponse>;
    /// Says back what it is told, with where it was to go.
    async fn port_forward(
        &self,
        request: Request<Streaming<rpc::PortForwardRequest>>,
    ) -> Result<Response<Self::PortForwardStream>, Status> {
        let (mut pieces, mut answers) = (request.into_inner(), Vec::new());
        while let Some(piece) = pieces.message().await? {
            let text = format!("{} {}:{} {}", self.0, piece.pod, piece.port, piece.data.len());
            answers.push(Ok(rpc::PortForwardResponse { data: text.into() }));
        }
        Ok(Response::new(futures::stream::iter(answers)))
    }
    async fn list_peers(&self, _: Request<rpc::ListPeersRequest>) -> Result<Response<rpc::ListPeersResponse>, Status> {
        let peer = rpc::Peer {
            node: self.0.to_owned(),
            ..Default::default()
        };
        Ok(Response::new(rpc::ListPeersResponse {
            peers: vec![peer],
            problems: Vec::new(),
        }))
    }
    /// The first node sends it on to the second, by two ways of which the second ends at once.
    async fn trace(&self, request: Request<rpc::TraceRequest>) -> Result<Response<rpc::TraceResponse>, Status> {
        let request = request.into_inner();
        let step = |way, next_node: &str| rpc::TraceStep {
            node: self.0.to_owned(),
            text: match request.on_host {
                true => "as the node".to_owned(),
                false => format!("{} from {} of {}", request.address, request.source, request.from_node),
            },
            way,
            next_node: next_node.to_owned(),
            source: "10.0.0.1".to_owned(),
            address: "10.0.0.2".to_owned(),
            ..Default::default()
        };
        let steps = match self.0 {
            "n1" => vec![step(1, "n2"), step(2, "")],
            _ => vec![step(0, "")],
        };
        Ok(Response::new(rpc::TraceResponse { steps }))
    }
    async fn remove_image(
        &self,
        _: Request<rpc::RemoveImageRequest>,
    ) -> Result<Response<rpc::RemoveImageResponse>, Status> {
        match self.0 {
            "n1" => Err(ApiError::new(Reason::NotFound, "no such image").into()),
            _ => Ok(Response::new(rpc::RemoveImageResponse {
                removed: vec!["i".to_owned()],
                freed_bytes: 7,
            })),
        }
    }
}

/// Serves as a node with the certificate of `certified`.
async fn serve_node(bench: &Bench, name: &'static str, certified: &str) {
    let pair = bench
        .server()
        .authority()
        .issue_node(certified, &["127.0.0.1".to_owned()])
        .unwrap();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(pair.cert_pem, pair.key_pem))
        .client_ca_root(Certificate::from_pem(bench.server().authority().ca_pem()));
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    register_at(bench, name, incoming.local_addr().unwrap().port()).await;
    let router = tonic::transport::Server::builder()
        .tls_config(tls)
        .unwrap()
        .add_service(RuntimeServer::new(Echo(name)));
    tokio::spawn(router.serve_with_incoming(incoming));
}

#[tokio::test]
async fn the_network_is_asked_of_nodes() {
    let bench = Bench::start().await;
    for name in ["n1", "n2"] {
        serve_node(&bench, name, name).await;
        bench.objects().create(pod(&format!("on-{name}"), name)).await.unwrap();
    }
    let mut runtime = RuntimeClient::new(bench.admin());
    // One that is there in name alone: nothing listens at its port any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    register_at(&bench, "n3", port).await;
    let peers = runtime.list_peers(rpc::ListPeersRequest::default()).await.unwrap();
    let answer = peers.into_inner();
    assert_eq!(
        answer.peers.iter().map(|peer| &*peer.node).collect::<Vec<_>>(),
        ["n1", "n2"]
    );
    assert!(
        matches!(&*answer.problems, [problem] if problem.node == "n3"),
        "{answer:?}"
    );
    let request = rpc::ListPeersRequest { node: "n3".to_owned() };
    let error = ApiError::from(runtime.list_peers(request).await.unwrap_err());
    assert_eq!(error.reason, Reason::Unavailable, "{error}");
    let first = rpc::PortForwardRequest {
        pod: "on-n1".to_owned(),
        port: 80,
        ..Default::default()
    };
    let next = rpc::PortForwardRequest {
        data: vec![0; 9].into(),
        ..Default::default()
    };
    let answers = runtime
        .port_forward(futures::stream::iter([first, next]))
        .await
        .unwrap();
    let mut answers = answers.into_inner();
    for said in ["n1 on-n1:80 0", "n1 :0 9"] {
        assert_eq!(answers.message().await.unwrap().unwrap().data, said);
    }
    assert_eq!(answers.message().await.unwrap(), None);
    let request = rpc::TraceRequest {
        pod: "on-n1".to_owned(),
        address: "10.96.0.1".to_owned(),
        ..Default::default()
    };
    let steps = runtime.trace(request.clone()).await.unwrap().into_inner().steps;
    let said = |step: &rpc::TraceStep| format!("{} {} {}", step.way, step.node, step.text);
    assert_eq!(
        steps.iter().map(said).collect::<Vec<_>>(),
        [
            "1 n1 10.96.0.1 from  of ",
            "1 n2 10.0.0.2 from 10.0.0.1 of n1",
            "2 n1 10.96.0.1 from  of "
        ]
    );
    let mut on_host = pod("on-host", "n2");
    on_host["spec"]["hostNetwork"] = true.into();
    bench.objects().create(on_host).await.unwrap();
    let request = rpc::TraceRequest {
        pod: "on-host".to_owned(),
        ..request
    };
    let steps = runtime.trace(request).await.unwrap().into_inner().steps;
    assert_eq!(steps.iter().map(said).collect::<Vec<_>>(), ["0 n2 as the node"]);
    bench.stop().await;
}

#[tokio::test]
async fn calls_are_passed_on_to_the_right_node() {
    let bench = Bench::start().await;
    for name in ["n1", "n2"] {
        serve_node(&bench, name, name).await;
        bench.objects().create(pod(&format!("on-{name}"), name)).await.unwrap();
    }
    let mut runtime = RuntimeClient::new(bench.admin());
    let request = rpc::LogsRequest {
        pod: "on-n2".to_owned(),
        ..Default::default()
    };
    let mut logs = runtime.logs(request).await.unwrap().into_inner();
    assert_eq!(logs.message().await.unwrap().unwrap().data, "n2: on-n2 for 1");
    let images = runtime
        .list_images(rpc::ListImagesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .images;
    assert_eq!(
        images.iter().map(|image| image.node.as_str()).collect::<Vec<_>>(),
        ["n1", "n2"]
    );
    let pieces = [vec![1; 1000], vec![2; 500]].map(|data| rpc::LoadImageRequest {
        data: data.into(),
        node: String::new(),
    });
    let loaded = runtime
        .load_image(futures::stream::iter(pieces))
        .await
        .unwrap()
        .into_inner()
        .images;
    assert_eq!(loaded, ["n1-1500", "n2-1500"]);
    let pulling = runtime
        .pull_image(rpc::PullImageRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut done: Vec<_> = pulling.map(|piece| piece.unwrap().node).collect().await;
    done.sort();
    assert_eq!(done, ["n1", "n2"]);
    let removed = runtime
        .remove_image(rpc::RemoveImageRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (removed.removed.len(), removed.freed_bytes),
        (1, 7),
        "it need not be everywhere"
    );
    bench.stop().await;
}

#[tokio::test]
async fn no_node_answers_in_anothers_place() {
    let bench = Bench::start().await;
    serve_node(&bench, "n1", "n2").await;
    let mut runtime = RuntimeClient::new(bench.admin());
    let request = rpc::ListImagesRequest { node: "n1".to_owned() };
    let error = ApiError::from(runtime.list_images(request).await.unwrap_err());
    assert_eq!(error.reason, Reason::Unavailable, "{error}");
    assert!(error.message.contains("certificate"), "{error}");
    bench.stop().await;
}

#[tokio::test]
async fn the_ranges_of_nodes_pods_are_apart() {
    let bench = Bench::start().await;
    let mut client = bench.objects();
    let node = |name: &str, range: &str| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"podCIDR": range, "podCIDRs": [range]}});
    client.create(node("a", "10.42.4.0/23")).await.unwrap();
    for (range, words) in [
        ("10.42.5.0/24", "overlaps with 10.42.4.0/23, which node \"a\" has"),
        ("10.42.4.0/22", "overlaps with 10.42.4.0/23, which node \"a\" has"),
        ("10.40.0.0/13", "lies outside of 10.42.0.0/16"),
        ("10.43.0.0/24", "lies outside of 10.42.0.0/16"),
        ("10.100.0.0/24", "overlaps with 10.96.0.0/12"),
        ("10.42.6.9/24", "did you mean 10.42.6.0/24?"),
    ] {
        let error = client.create(node("b", range)).await.unwrap_err();
        assert_eq!(error.causes[0].field, "spec.podCIDR", "{error}");
        assert!(error.causes[0].message.contains(words), "{error}");
    }
    client.create(node("b", "10.42.6.0/24")).await.unwrap();
    let patch = json!({"spec": {"podCIDR": "10.42.4.0/24", "podCIDRs": ["10.42.4.0/24"]}});
    let error = client
        .patch("nodes", "b", rpc::PatchType::Merge, patch)
        .await
        .unwrap_err();
    assert!(error.causes[0].message.contains("node \"a\""), "{error}");
    // What stays as it is is let in, whatever else there is of it.
    let label = json!({"metadata": {"labels": {"x": "y"}}});
    client.patch("nodes", "b", rpc::PatchType::Merge, label).await.unwrap();
    bench.stop().await;
}
