//! The service of what nodes do: logs, images, connections to pods, passed on to the node they are on.
use super::{
    Front, Pieces, access, caller,
    reach::{Node, no_node},
    trace,
};
use futures::{StreamExt, stream};
use sampan_api::{ApiError, Reason, rpc};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Pieces of an image that may wait for a slow node.
const AHEAD: usize = 8;

/// Asks all nodes at the same time.
async fn ask_all<T, F>(nodes: Vec<Node>, ask: impl Fn(Node) -> F) -> Result<Vec<(Node, T)>, ApiError>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let asked = nodes.into_iter().map(|node| {
        let answer = ask(node.clone());
        async move {
            match answer.await {
                Ok(answer) => Ok((node, answer.into_inner())),
                Err(status) => Err(node.explain(status)),
            }
        }
    });
    futures::future::try_join_all(asked).await
}

/// How long one of many nodes is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks all nodes at the same time: what those said that answered, and why the others did not. Of one that was named, no
/// answer is an error.
async fn ask_each<T, F>(
    front: &Front,
    name: &str,
    ask: impl Fn(Node) -> F,
) -> Result<(Vec<(Node, T)>, Vec<rpc::NodeProblem>), ApiError>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    if !name.is_empty() {
        return Ok((ask_all(vec![front.node_named(name)?], ask).await?, Vec::new()));
    }
    let nodes = front.each_node(name)?;
    if nodes.is_empty() {
        return Err(no_node());
    }
    let asked = nodes.into_iter().map(|(name, node)| {
        let answer = node.map(|node| (node.clone(), ask(node)));
        async move {
            let result = match answer {
                Ok((node, answer)) => match tokio::time::timeout(PATIENCE, answer).await {
                    Ok(Ok(answer)) => Ok((node, answer.into_inner())),
                    Ok(Err(status)) => Err(node.explain(status)),
                    Err(_) => Err(ApiError::unavailable(format!(
                        "it did not answer within {} s",
                        PATIENCE.as_secs()
                    ))),
                },
                Err(error) => Err(error),
            };
            result.map_err(|error| rpc::NodeProblem {
                node: name,
                message: error.message,
            })
        }
    });
    let (mut answers, mut problems) = (Vec::new(), Vec::new());
    for result in futures::future::join_all(asked).await {
        match result {
            Ok(answer) => answers.push(answer),
            Err(problem) => problems.push(problem),
        }
    }
    Ok((answers, problems))
}

/// The service.
pub struct Runtime(pub Arc<Front>);

#[tonic::async_trait]
impl rpc::runtime_server::Runtime for Runtime {
    type LogsStream = Pieces<rpc::LogsResponse>;

    async fn logs(&self, request: Request<rpc::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        access::check_master(&caller(&request)?, "read logs")?;
        let mut request = request.into_inner();
        if request.namespace.is_empty() {
            sampan_api::DEFAULT_NAMESPACE.clone_into(&mut request.namespace);
        }
        let mut node = self.0.node_of_pod(&request.namespace, &request.pod)?;
        match node.client.logs(request).await {
            Ok(answer) => Ok(Response::new(node.pieces(answer.into_inner()))),
            Err(status) => Err(node.explain(status).into()),
        }
    }

    type PullImageStream = Pieces<rpc::ImageProgress>;

    async fn pull_image(
        &self,
        request: Request<rpc::PullImageRequest>,
    ) -> Result<Response<Self::PullImageStream>, Status> {
        access::check_master(&caller(&request)?, "pull images")?;
        let request = request.into_inner();
        let nodes = self.0.nodes_named(&request.node)?;
        let streams = ask_all(nodes, |mut node| {
            let request = rpc::PullImageRequest {
                node: node.name.clone(),
                ..request.clone()
            };
            async move { node.client.pull_image(request).await }
        });
        let streams = streams.await?.into_iter().map(|(node, stream)| {
            let name = node.name.clone();
            node.pieces(stream).map(move |piece| {
                piece.map(|piece| rpc::ImageProgress {
                    node: name.clone(),
                    ..piece
                })
            })
        });
        Ok(Response::new(Box::pin(stream::select_all(streams))))
    }

    async fn load_image(
        &self,
        request: Request<Streaming<rpc::LoadImageRequest>>,
    ) -> Result<Response<rpc::LoadImageResponse>, Status> {
        access::check_master(&caller(&request)?, "load images")?;
        let mut pieces = request.into_inner();
        let Some(first) = pieces.message().await? else {
            return Err(ApiError::bad_request("no image was sent").into());
        };
        let nodes = self.0.nodes_named(&first.node)?;
        let mut ways = Vec::with_capacity(nodes.len());
        let loading = nodes.into_iter().map(|mut node| {
            let (way, receiver) = mpsc::channel(AHEAD);
            ways.push((node.name.clone(), way));
            async move {
                node.client
                    .load_image(ReceiverStream::new(receiver))
                    .await
                    .map_err(|status| node.explain(status))
            }
        });
        let loading = futures::future::try_join_all(loading.collect::<Vec<_>>());
        let passing = async move {
            let mut piece = Some(first);
            while let Some(next) = piece {
                for (name, way) in &ways {
                    // A node that takes no more has an answer to give: it is waited for.
                    let _ = way
                        .send(rpc::LoadImageRequest {
                            node: name.clone(),
                            ..next.clone()
                        })
                        .await;
                }
                if ways.iter().all(|(_, way)| way.is_closed()) {
                    break;
                }
                piece = pieces.message().await?;
            }
            Ok::<(), Status>(())
        };
        // If the client breaks off, the nodes must not take what they have for the whole: then their calls are dropped.
        let ((), answers) = tokio::try_join!(passing, async { loading.await.map_err(Status::from) })?;
        let mut images: Vec<String> = answers
            .into_iter()
            .flat_map(|answer| answer.into_inner().images)
            .collect();
        images.sort();
        images.dedup();
        Ok(Response::new(rpc::LoadImageResponse { images }))
    }

    async fn list_images(
        &self,
        request: Request<rpc::ListImagesRequest>,
    ) -> Result<Response<rpc::ListImagesResponse>, Status> {
        access::check_master(&caller(&request)?, "list images")?;
        let name = request.into_inner().node;
        let answers = ask_each(&self.0, &name, |mut node| async move {
            node.client
                .list_images(rpc::ListImagesRequest {
                    node: node.name.clone(),
                })
                .await
        });
        let (answers, problems) = answers.await?;
        let of_node = |(node, answer): (Node, rpc::ListImagesResponse)| {
            answer.images.into_iter().map(move |image| rpc::Image {
                node: node.name.clone(),
                ..image
            })
        };
        Ok(Response::new(rpc::ListImagesResponse {
            images: answers.into_iter().flat_map(of_node).collect(),
            problems,
        }))
    }

    type PortForwardStream = Pieces<rpc::PortForwardResponse>;

    async fn port_forward(
        &self,
        request: Request<Streaming<rpc::PortForwardRequest>>,
    ) -> Result<Response<Self::PortForwardStream>, Status> {
        access::check_master(&caller(&request)?, "connect to pods")?;
        let mut pieces = request.into_inner();
        let Some(mut first) = pieces.message().await? else {
            return Err(ApiError::bad_request("nothing was said of where to connect to").into());
        };
        if first.namespace.is_empty() {
            sampan_api::DEFAULT_NAMESPACE.clone_into(&mut first.namespace);
        }
        let mut node = self.0.node_of_pod(&first.namespace, &first.pod)?;
        // Where the client breaks off, so does the stream to the node.
        let rest = pieces.take_while(|piece| std::future::ready(piece.is_ok()));
        let rest = rest.filter_map(|piece| std::future::ready(piece.ok()));
        let whole = stream::iter([first]).chain(rest);
        match node.client.port_forward(whole).await {
            Ok(answer) => Ok(Response::new(node.pieces(answer.into_inner()))),
            Err(status) => Err(node.explain(status).into()),
        }
    }

    async fn trace(&self, request: Request<rpc::TraceRequest>) -> Result<Response<rpc::TraceResponse>, Status> {
        access::check_master(&caller(&request)?, "trace packets")?;
        Ok(Response::new(trace::trace(&self.0, request.into_inner()).await?))
    }

    async fn list_peers(
        &self,
        request: Request<rpc::ListPeersRequest>,
    ) -> Result<Response<rpc::ListPeersResponse>, Status> {
        access::check_master(&caller(&request)?, "list peers")?;
        let name = request.into_inner().node;
        let answers = ask_each(&self.0, &name, |mut node| async move {
            let request = rpc::ListPeersRequest {
                node: node.name.clone(),
            };
            node.client.list_peers(request).await
        });
        let (answers, problems) = answers.await?;
        let peers = answers.into_iter().flat_map(|(_, answer)| answer.peers).collect();
        Ok(Response::new(rpc::ListPeersResponse { peers, problems }))
    }

    async fn remove_image(
        &self,
        request: Request<rpc::RemoveImageRequest>,
    ) -> Result<Response<rpc::RemoveImageResponse>, Status> {
        access::check_master(&caller(&request)?, "remove images")?;
        let request = request.into_inner();
        let nodes = self.0.nodes_named(&request.node)?;
        let mut total = rpc::RemoveImageResponse::default();
        let mut missing = None;
        let mut found = false;
        for mut node in nodes {
            let asked = rpc::RemoveImageRequest {
                node: node.name.clone(),
                ..request.clone()
            };
            match node
                .client
                .remove_image(asked)
                .await
                .map_err(|status| node.explain(status))
            {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    found = true;
                    total.removed.extend(answer.removed);
                    total.freed_bytes += answer.freed_bytes;
                }
                // It need not be on every node.
                Err(error) if error.reason == Reason::NotFound => missing = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        match missing {
            Some(error) if !found => Err(error.into()),
            _ => Ok(Response::new(total)),
        }
    }
}
