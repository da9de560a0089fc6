//! The cases: which nodes there are, which pods lie there before, which are measured, and what goes on meanwhile.
use super::shapes;
use serde_json::Value;

/// What goes on while pods are measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Churn {
    Nothing,
    /// Five times a second comes a pod that no node has room for.
    Unschedulable,
    /// Each second a node, a pod that no node has room for and a Service come, and go a second later.
    Mixed,
}

/// Pods of one shape, so many for each node and at least one.
#[derive(Clone, Copy)]
pub struct Before {
    pub for_a_node: f64,
    pub pod: fn() -> Value,
    /// Whether they wait for a node for ever.
    pub waits: bool,
}

pub struct Case {
    pub name: &'static str,
    /// What Kubernetes' own tests of performance demand of its scheduler, in pods a second, where it is known.
    pub upstream: Option<f64>,
    /// Those that Sampan holds itself to: fifty times `upstream`.
    pub held: bool,
    pub zones: &'static [&'static str],
    pub before: &'static [Before],
    /// A measured pod; its number, for those that are pinned to a node.
    pub measured: fn(&str) -> Value,
    /// At most so many for each node: there is no room for more.
    pub most_for_a_node: Option<f64>,
    pub churn: Churn,
}

const fn before(for_a_node: f64, pod: fn() -> Value) -> Before {
    Before {
        for_a_node,
        pod,
        waits: false,
    }
}

pub const BASIC: Case = Case {
    name: "basic",
    upstream: Some(270.0),
    held: true,
    zones: &[],
    before: &[before(0.2, shapes::plain)],
    measured: |_| shapes::plain(),
    most_for_a_node: None,
    churn: Churn::Nothing,
};

/// The cases, with the numbers of nodes and pods of scheduler_perf.
pub const CASES: &[Case] = &[
    BASIC,
    Case {
        name: "daemonset",
        upstream: None,
        held: false,
        before: &[],
        measured: shapes::pinned,
        ..BASIC
    },
    Case {
        name: "node-affinity",
        upstream: Some(220.0),
        zones: &["zone1"],
        before: &[before(1.0, shapes::of_a_zone)],
        measured: |_| shapes::of_a_zone(),
        ..BASIC
    },
    Case {
        name: "preferred-affinity",
        upstream: Some(90.0),
        before: &[before(1.0, shapes::rather_near)],
        measured: |_| shapes::rather_near(),
        ..BASIC
    },
    Case {
        name: "affinity",
        upstream: Some(35.0),
        zones: &["zone1"],
        before: &[before(1.0, shapes::near_in_a_zone)],
        measured: |_| shapes::near_in_a_zone(),
        ..BASIC
    },
    Case {
        name: "anti-affinity",
        upstream: Some(60.0),
        before: &[before(0.2, shapes::apart_on_hosts)],
        measured: |_| shapes::apart_on_hosts(),
        most_for_a_node: Some(0.4),
        ..BASIC
    },
    Case {
        name: "spread",
        upstream: Some(85.0),
        zones: &["moon-1", "moon-2", "moon-3"],
        before: &[before(1.0, shapes::plain)],
        measured: |_| shapes::spread("DoNotSchedule"),
        ..BASIC
    },
    Case {
        name: "preferred-spread",
        upstream: Some(125.0),
        zones: &["moon-1", "moon-2", "moon-3"],
        before: &[before(1.0, shapes::plain)],
        measured: |_| shapes::spread("ScheduleAnyway"),
        ..BASIC
    },
    Case {
        name: "preemption",
        upstream: Some(160.0),
        before: &[before(4.0, shapes::unimportant)],
        measured: |_| shapes::important(),
        most_for_a_node: Some(1.0),
        ..BASIC
    },
    Case {
        name: "unschedulable",
        upstream: None,
        held: false,
        before: &[before(0.02, shapes::plain)],
        churn: Churn::Unschedulable,
        ..BASIC
    },
    Case {
        name: "mixed-churn",
        upstream: None,
        held: false,
        before: &[],
        churn: Churn::Mixed,
        ..BASIC
    },
    Case {
        name: "gated",
        upstream: None,
        held: false,
        before: &[Before {
            waits: true,
            ..before(2.0, shapes::gated)
        }],
        ..BASIC
    },
];
