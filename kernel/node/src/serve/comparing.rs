//! What a plugin would change here, for servers that hold it against the one in force.
use super::rights;
use crate::{
    agent::Node,
    network::comparing::{Change, Comparison, Counts, Row},
};
use sampan_api::{
    ApiError,
    plugin::PluginSpec,
    rpc::{self, EntryDiff, NodeDiff, TableDiff},
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Rows of an answer.
const MOST_ROWS: usize = 10_000;

/// The service.
pub struct NodePlugins {
    pub node: Arc<Node>,
}

#[tonic::async_trait]
impl rpc::node_plugins_server::NodePlugins for NodePlugins {
    async fn compare(&self, request: Request<rpc::CompareHereRequest>) -> Result<Response<NodeDiff>, Status> {
        rights::check(&request)?;
        let request = request.into_inner();
        let spec: PluginSpec = serde_json::from_str(&request.spec)
            .map_err(|error| ApiError::bad_request(format!("the plugin's spec makes no sense: {error}")))?;
        let most = usize::try_from(request.most).unwrap_or(MOST_ROWS).min(MOST_ROWS);
        let compared = match &self.node.network {
            Some(network) => network.compare(&spec, most).await,
            None => Err("without root pods have no network of their own there".to_owned()),
        };
        let mut diff = match compared {
            Ok(comparison) => message(comparison),
            Err(problem) => NodeDiff {
                problem,
                ..NodeDiff::default()
            },
        };
        diff.node.clone_from(&self.node.config.name);
        Ok(Response::new(diff))
    }
}

fn message(comparison: Comparison) -> NodeDiff {
    let mut diff = NodeDiff {
        decides: comparison.decides.unwrap_or_default(),
        micros: comparison.took.as_secs_f64() * 1e6,
        ..NodeDiff::default()
    };
    match comparison.outcome {
        Ok(difference) => {
            diff.tables = difference.tables.into_iter().map(table).collect();
            diff.entries = difference.rows.into_iter().map(entry).collect();
        }
        Err(why) => diff.refused = why,
    }
    diff
}

fn table(counts: Counts) -> TableDiff {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    TableDiff {
        table: counts.table,
        now: number(counts.now),
        then: number(counts.then),
        added: number(counts.added),
        removed: number(counts.removed),
        changed: number(counts.changed),
    }
}

fn entry(row: Row) -> EntryDiff {
    let change = match row.change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Changed => "changed",
    };
    EntryDiff {
        table: row.table,
        key: row.key,
        now: row.now,
        then: row.then,
        change: change.to_owned(),
    }
}
