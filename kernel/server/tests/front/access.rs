//! Who may do what.
use crate::bench::{Bench, Client, key, pod, selection};
use sampan_api::{
    ApiError, Reason,
    rpc::{
        self, cluster_client::ClusterClient, nodes_client::NodesClient, objects_client::ObjectsClient,
        plugins_client::PluginsClient, runtime_client::RuntimeClient, write::Operation,
    },
};
use sampan_server::{Authority, metrics};
use serde_json::json;
use tonic::{Code, client::Grpc, transport::Channel};

/// Calls a method by its path, with an empty message.
async fn call(channel: &Channel, path: &str) -> Code {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = path.parse().unwrap();
    // Any of our messages reads an empty one.
    let codec = tonic_prost::ProstCodec::<rpc::MetricsRequest, rpc::MetricsResponse>::default();
    let answer = grpc
        .server_streaming(tonic::Request::new(rpc::MetricsRequest {}), path, codec)
        .await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// All methods that the protocol has, from its own description.
fn methods() -> Vec<String> {
    use prost::Message;
    let files = prost_types::FileDescriptorSet::decode(rpc::DESCRIPTORS).unwrap();
    let mut methods = Vec::new();
    for file in files.file {
        for service in &file.service {
            let path = |method: &prost_types::MethodDescriptorProto| {
                format!("/{}.{}/{}", file.package(), service.name(), method.name())
            };
            methods.extend(service.method.iter().map(path));
        }
    }
    methods
}

#[tokio::test]
async fn without_a_certificate_only_health_answers() {
    let bench = Bench::start().await;
    let nobody = bench.channel(None);
    let methods = methods();
    assert!(methods.len() > 20, "{methods:?}");
    let odd = [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.Health/Other",
        "/no.Such/Method",
        "/",
        "/grpc.health.v1.Health/Check/x",
    ];
    for path in methods.iter().map(String::as_str).chain(odd) {
        // Who joins has no certificate yet, and shows a token instead.
        let code = match path {
            "/sampan.v1.Membership/Join" => Code::InvalidArgument,
            _ => Code::Unauthenticated,
        };
        assert_eq!(call(&nobody, path).await, code, "{path}");
    }
    let health = tonic_health::pb::health_client::HealthClient::new(nobody)
        .check(tonic_health::pb::HealthCheckRequest { service: String::new() })
        .await
        .unwrap();
    assert_eq!(
        health.into_inner().status(),
        tonic_health::pb::health_check_response::ServingStatus::Serving
    );
    assert!(metrics::text().contains("sampan_unauthenticated_calls_total"));
    bench.stop().await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_no_good() {
    let bench = Bench::start().await;
    let foreign = Authority::make("foreign").unwrap().issue_admin().unwrap();
    let error = ObjectsClient::new(bench.channel(Some(&foreign)))
        .list(rpc::ListRequest {
            selection: selection("pods"),
            ..Default::default()
        })
        .await
        .unwrap_err();
    assert_ne!(error.code(), Code::Ok);
    assert!(
        ObjectsClient::new(bench.admin())
            .list(rpc::ListRequest {
                selection: selection("pods"),
                ..Default::default()
            })
            .await
            .is_ok()
    );
    bench.stop().await;
}

#[tokio::test]
async fn who_is_in_no_group_may_do_nothing() {
    let bench = Bench::start().await;
    let pair = bench.server().authority().issue_client("bob", "devs").unwrap();
    let mut bob = Client(ObjectsClient::new(bench.channel(Some(&pair))));
    let error = bob.get("pods", "x").await.unwrap_err();
    assert_eq!(error.reason, Reason::Forbidden);
    assert!(
        error.message.starts_with("user \"bob\" may not get pods \"x\""),
        "{error}"
    );
    let channel = bench.channel(Some(&pair));
    // What nodes alone serve is not there to be refused.
    let served = methods().into_iter().filter(|path| !path.contains(".NodePlugins/"));
    for path in served {
        let code = call(&channel, &path).await;
        assert!(
            [Code::PermissionDenied, Code::InvalidArgument].contains(&code),
            "{path}: {code:?}"
        );
    }
    // The name of a node without its group makes no node.
    let pair = bench
        .server()
        .authority()
        .issue_client("system:node:n1", "devs")
        .unwrap();
    let mut fake = Client(ObjectsClient::new(bench.channel(Some(&pair))));
    assert_eq!(fake.get("pods", "x").await.unwrap_err().reason, Reason::Forbidden);
    bench.stop().await;
}

fn write(resource: &str, name: &str, operation: Operation) -> rpc::Plan {
    rpc::Plan {
        writes: vec![rpc::Write {
            key: Some(key(resource, name)),
            operation: Some(operation),
            expect: 0,
        }],
    }
}

fn status(value: serde_json::Value) -> Operation {
    Operation::MergeStatus(json!({ "status": value }).to_string().into())
}

fn node(name: &str) -> Operation {
    let node =
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": {"capacity": {"cpu": "1"}}});
    Operation::Create(node.to_string().into())
}

#[tokio::test]
async fn an_agent_keeps_to_its_node() {
    let bench = Bench::start().await;
    let mut admin = bench.objects();
    for name in ["s1", "s2"] {
        admin
            .create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}))
            .await
            .unwrap();
    }
    let mut own = pod("own", "n1");
    own["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "s1"}}]);
    admin.create(own).await.unwrap();
    admin.create(pod("other", "n2")).await.unwrap();
    let mut agent = Client(ObjectsClient::new(bench.agent("n1")));
    let end = || {
        Operation::Delete(rpc::Deletion {
            r#final: true,
            ..Default::default()
        })
    };
    let event =
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {}}).to_string();
    let cases = [
        (write("nodes", "n1", node("n1")), true),
        (write("nodes", "n2", node("n2")), false),
        (write("nodes", "n1", status(json!({"phase": "x"}))), true),
        (write("pods", "own", status(json!({"phase": "Running"}))), true),
        (write("pods", "other", status(json!({"phase": "Running"}))), false),
        (write("pods", "other", end()), false),
        (write("pods", "own", Operation::Merge("{}".into())), false),
        (
            write(
                "pods",
                "own",
                Operation::Bind(rpc::Binding {
                    node: "n1".to_owned(),
                    policy: String::new(),
                }),
            ),
            false,
        ),
        (write("nodes", "n1", end()), false),
        (write("events", "e", Operation::Create(event.into())), true),
        (write("configmaps", "c", Operation::Create("{}".into())), false),
        (write("pods", "own", end()), true),
    ];
    let (plans, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    // One by one, since each is checked against the state that the ones before it left.
    for (plan, expected) in plans.into_iter().zip(expected) {
        let key = plan.writes[0].key.clone().unwrap();
        if key.name == "own" && matches!(plan.writes[0].operation, Some(Operation::Delete(_))) {
            assert!(agent.get("secrets", "s1").await.is_ok(), "a pod of its node names it");
            assert_eq!(agent.get("secrets", "s2").await.unwrap_err().reason, Reason::Forbidden);
        }
        let result = agent.commit(vec![plan.clone()], "").await.unwrap().remove(0);
        match expected {
            true => assert!(result.is_ok(), "{plan:?}: {result:?}"),
            false => assert_eq!(result.unwrap_err().reason, Reason::Forbidden, "{plan:?}"),
        }
    }
    assert_eq!(
        agent.get("secrets", "s1").await.unwrap_err().reason,
        Reason::Forbidden,
        "the pod that named it is gone"
    );
    assert_eq!(
        agent.get("nodes", "n1").await.unwrap()["status"]["capacity"]["cpu"],
        "1",
        "a node's status is taken"
    );
    bench.stop().await;
}

#[tokio::test]
async fn an_agent_reads_the_certificates_that_ingresses_name() {
    let bench = Bench::start().await;
    let mut admin = bench.objects();
    for (name, kind) in [
        ("cert", "kubernetes.io/tls"),
        ("other", "kubernetes.io/tls"),
        ("password", "Opaque"),
    ] {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind});
        admin.create(secret).await.unwrap();
    }
    let mut agent = Client(ObjectsClient::new(bench.agent("n1")));
    let refused = |result: Result<serde_json::Value, ApiError>| result.unwrap_err().reason == Reason::Forbidden;
    assert!(refused(agent.get("secrets", "cert").await), "nobody names it yet");
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"},
        "spec": {"defaultBackend": backend, "tls": [{"secretName": "cert"}, {"secretName": "password"}]}});
    admin.create(ingress).await.unwrap();
    for resource in ["ingresses.networking.k8s.io", "ingressclasses.networking.k8s.io"] {
        let request = rpc::ListRequest {
            selection: selection(resource),
            ..Default::default()
        };
        agent.list(request).await.unwrap();
    }
    assert!(agent.get("secrets", "cert").await.is_ok());
    assert!(refused(agent.get("secrets", "other").await), "no Ingress names it");
    assert!(refused(agent.get("secrets", "password").await), "it is no certificate");
    bench.stop().await;
}

#[tokio::test]
async fn an_agent_has_no_business_elsewhere() {
    let bench = Bench::start().await;
    let mut agent = Client(ObjectsClient::new(bench.agent("n1")));
    for resource in ["secrets", "*"] {
        let request = rpc::ListRequest {
            selection: selection(resource),
            ..Default::default()
        };
        assert_eq!(
            agent.list(request).await.unwrap_err().reason,
            Reason::Forbidden,
            "{resource}"
        );
    }
    let forbidden = |status: tonic::Status| assert_eq!(ApiError::from(status).reason, Reason::Forbidden);
    let channel = bench.agent("n1");
    forbidden(
        PluginsClient::new(channel.clone())
            .activate(rpc::PluginRequest::default())
            .await
            .unwrap_err(),
    );
    let mut plugins = PluginsClient::new(channel.clone());
    forbidden(plugins.record(rpc::RecordRequest::default()).await.unwrap_err());
    forbidden(plugins.diff(rpc::PluginDiffRequest::default()).await.unwrap_err());
    forbidden(
        ClusterClient::new(channel.clone())
            .metrics(rpc::MetricsRequest {})
            .await
            .unwrap_err(),
    );
    forbidden(
        ClusterClient::new(channel.clone())
            .snapshot(rpc::SnapshotRequest {})
            .await
            .unwrap_err(),
    );
    forbidden(
        RuntimeClient::new(channel.clone())
            .logs(rpc::LogsRequest::default())
            .await
            .unwrap_err(),
    );
    let beat = |node: &str| futures::stream::iter([rpc::HeartbeatRequest { node: node.to_owned() }]);
    let mut nodes = NodesClient::new(channel);
    let mut answers = nodes.heartbeat(beat("n1")).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().unwrap().interval_ms > 0);
    let mut answers = nodes.heartbeat(beat("n2")).await.unwrap().into_inner();
    forbidden(answers.message().await.unwrap_err());
    bench.stop().await;
}
