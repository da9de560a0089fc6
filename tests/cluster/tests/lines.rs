//! What a server asks the leader goes over one connection, which is made anew when another certificate is to be shown. Alone in
//! its process, since the figures are those of the process.
#![allow(clippy::expect_used)] // A panic is the test failing.
use cluster::group::Group;
use sampan_api::rpc::{
    MetricsRequest, RotateRequest, StatusRequest, certificates_client::CertificatesClient,
    cluster_client::ClusterClient,
};
use tonic::transport::Channel;

/// Connections that all servers of this process have taken.
async fn connections(client: &mut ClusterClient<Channel>) -> f64 {
    let text = client
        .metrics(MetricsRequest {})
        .await
        .expect("figures")
        .into_inner()
        .text;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("sampan_connections_total "));
    line.and_then(|number| number.trim().parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_the_leader_is_kept() {
    let group = Group::of(3).await;
    let follower = (group.leader() + 1) % 3;
    let channel = group.channel(follower);
    let mut client = ClusterClient::new(channel.clone());
    let ask = StatusRequest::default;
    client.status(ask()).await.expect("an answer");
    let before = connections(&mut client).await;
    for _ in 0..20 {
        client.status(ask()).await.expect("an answer");
    }
    let more = connections(&mut client).await - before;
    // Links between the members may break on a machine that has no time for them.
    assert!(more < 5.0, "20 questions took {more} connections");

    let rotate = RotateRequest {
        role: "server".to_owned(),
        name: format!("s{follower}"),
    };
    let before = connections(&mut client).await;
    CertificatesClient::new(channel)
        .rotate(rotate)
        .await
        .expect("it is renewed");
    let status = client.status(ask()).await.expect("an answer").into_inner();
    assert_eq!(status.members.len(), 3);
    assert!(
        connections(&mut client).await > before,
        "with another certificate, another connection"
    );
    group.end().await;
}
