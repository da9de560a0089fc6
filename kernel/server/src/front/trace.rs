//! The way of a packet across nodes: each is asked for its part.
use super::Front;
use sampan_api::{ApiError, rpc};
use std::collections::VecDeque;

/// Nodes on one way at the most.
const MOST_NODES: usize = 16;
/// Nodes that are asked at the most.
const MOST_ASKED: usize = 256;

/// All steps, those of a way behind each other.
pub async fn trace(front: &Front, mut request: rpc::TraceRequest) -> Result<rpc::TraceResponse, ApiError> {
    if request.namespace.is_empty() {
        sampan_api::DEFAULT_NAMESPACE.clone_into(&mut request.namespace);
    }
    let (mut node, on_host) = front.place_of_pod(&request.namespace, &request.pod)?;
    request.on_host = on_host;
    let protocol = request.protocol.clone();
    let first = node.client.trace(request).await;
    let first = first.map_err(|status| node.explain(status))?.into_inner().steps;
    let steps = walk(first, &protocol, |request| ask(front, request)).await;
    Ok(rpc::TraceResponse { steps })
}

async fn ask(front: &Front, request: rpc::TraceRequest) -> Result<Vec<rpc::TraceStep>, ApiError> {
    let mut node = front.node_named(&request.node)?;
    let answer = node.client.trace(request).await;
    Ok(answer.map_err(|status| node.explain(status))?.into_inner().steps)
}

/// A packet on its way to another node.
struct Onward {
    step: rpc::TraceStep,
    /// The nodes that it has been to.
    passed: Vec<String>,
}

/// Goes on with a packet where the first node has said that others do.
async fn walk<F>(
    first: Vec<rpc::TraceStep>,
    protocol: &str,
    ask: impl Fn(rpc::TraceRequest) -> F + Send,
) -> Vec<rpc::TraceStep>
where
    F: Future<Output = Result<Vec<rpc::TraceStep>, ApiError>> + Send,
{
    let mut onward: VecDeque<Onward> = onward(&first, &[]).collect();
    let mut steps = first;
    let mut asked = 0;
    while let Some(Onward { step, passed }) = onward.pop_front() {
        let text = |text: String, verdict: rpc::TraceVerdict| {
            vec![rpc::TraceStep {
                node: step.next_node.clone(),
                what: "node".to_owned(),
                text,
                verdict: verdict.into(),
                ..rpc::TraceStep::default()
            }]
        };
        let mut more = if passed.contains(&step.next_node) {
            // The packet is the same as it was then, so it takes the same way again until it has no hop left.
            let circle = format!("{}, {}", passed.join(", "), step.next_node);
            text(format!("routes lead in a circle: {circle}"), rpc::TraceVerdict::Stops)
        } else if passed.len() >= MOST_NODES || asked >= MOST_ASKED {
            let why = format!(
                "not followed further, after {} nodes on this way and {asked} in all",
                passed.len()
            );
            text(why, rpc::TraceVerdict::GoesOn)
        } else {
            asked += 1;
            let answer = ask(request_of(&step, protocol)).await;
            answer.unwrap_or_else(|error| text(format!("cannot be asked: {error}"), rpc::TraceVerdict::Stops))
        };
        more.iter_mut().for_each(|next| next.way = step.way);
        onward.extend(self::onward(&more, &passed));
        let before = steps.iter().rposition(|before| before.way == step.way);
        let after = before.map_or(steps.len(), |at| at + 1);
        steps.splice(after..after, more);
    }
    steps
}

/// A packet as it comes to the next node.
fn request_of(step: &rpc::TraceStep, protocol: &str) -> rpc::TraceRequest {
    rpc::TraceRequest {
        node: step.next_node.clone(),
        from_node: step.node.clone(),
        source: step.source.clone(),
        address: step.address.clone(),
        port: step.port,
        protocol: protocol.to_owned(),
        ..rpc::TraceRequest::default()
    }
}

fn onward(steps: &[rpc::TraceStep], passed: &[String]) -> impl Iterator<Item = Onward> {
    let going_on = steps.iter().filter(|step| !step.next_node.is_empty());
    going_on.map(|step| Onward {
        passed: passed.iter().chain([&step.node]).cloned().collect(),
        step: step.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn to(node: &str, next: &str, way: u32) -> rpc::TraceStep {
        rpc::TraceStep {
            node: node.to_owned(),
            next_node: next.to_owned(),
            text: format!("to {next}"),
            way,
            ..rpc::TraceStep::default()
        }
    }

    /// Each node says whom it hands a packet to; what is said, and who was asked.
    async fn walked(
        first: &[rpc::TraceStep],
        next: impl Fn(&str) -> String + Send + Sync,
    ) -> (Vec<String>, Vec<String>) {
        let asked = Mutex::new(Vec::new());
        let ask = |request: rpc::TraceRequest| {
            let who = format!("{} from {}", request.node, request.from_node);
            asked.lock().unwrap().push(who);
            let next = next(&request.node);
            async move {
                match &*next {
                    "away" => Err(ApiError::unavailable("is away")),
                    next => Ok(vec![to(&request.node, next, 0)]),
                }
            }
        };
        let steps = walk(first.to_vec(), "tcp", ask).await;
        let said = |step: &rpc::TraceStep| format!("{} {}: {}", step.way, step.node, step.text);
        (steps.iter().map(said).collect(), asked.into_inner().unwrap())
    }

    #[tokio::test]
    async fn each_node_is_asked_on_from_the_one_before() {
        let next = |node: &str| if node == "hub" { "c" } else { "" }.to_owned();
        let (said, asked) = walked(&[to("a", "hub", 1), to("a", "b", 2)], next).await;
        assert_eq!(
            said,
            ["1 a: to hub", "1 hub: to c", "1 c: to ", "2 a: to b", "2 b: to "]
        );
        assert_eq!(asked, ["hub from a", "b from a", "c from hub"]);
        let (said, _) = walked(&[to("a", "b", 0)], |_| "away".to_owned()).await;
        assert!(said[1].starts_with("0 b: cannot be asked: "), "{said:?}");
    }

    #[tokio::test]
    async fn a_circle_ends_where_it_closes_and_is_said() {
        let next = |node: &str| if node == "b" { "c" } else { "b" }.to_owned();
        let (said, asked) = walked(&[to("a", "b", 0)], next).await;
        assert_eq!(said.last().unwrap(), "0 b: routes lead in a circle: a, b, c, b");
        assert_eq!(asked.len(), 2);
    }

    #[tokio::test]
    async fn a_way_without_an_end_is_bounded_and_that_is_said() {
        let (said, asked) = walked(&[to("a", "x", 0)], |node| format!("{node}x")).await;
        assert_eq!(asked.len(), MOST_NODES - 1);
        assert!(
            said.last().unwrap().contains("not followed further, after 16 nodes"),
            "{said:?}"
        );
        let many: Vec<rpc::TraceStep> = (1..=300).map(|way| to("a", "b", way)).collect();
        let (said, asked) = walked(&many, |_| String::new()).await;
        assert_eq!((said.len(), asked.len()), (600, MOST_ASKED));
        assert!(said.last().unwrap().contains("not followed further"), "{said:?}");
    }
}
