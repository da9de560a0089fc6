//! Plans: what a decision becomes, and what commits whole or not at all.
use crate::{ApiError, Key, Object, Revision, rpc};
use serde_json::Value;

/// A list of writes that commits as one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub writes: Vec<Write>,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// For a create the name may be empty where `metadata.generateName` is given: the state gives one.
    pub key: Key,
    pub operation: Operation,
    /// The revision the object must be at; 0 is any.
    pub expect: Revision,
}

/// What to do with an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    Create(Object),
    /// All but status.
    Replace(Object),
    /// Status alone.
    ReplaceStatus(Object),
    /// A JSON merge patch (RFC 7386) of all but status.
    Merge(Value),
    MergeStatus(Value),
    Delete(Deletion),
    Bind(Binding),
}

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// The uid it must have; empty is any.
    pub uid: String,
    /// Seconds a pod gets to end; none: the pod's own.
    pub grace_period_seconds: Option<u32>,
    /// At once, whatever finalizers or grace it has.
    pub final_: bool,
    pub propagation: Propagation,
}

/// What becomes of the objects that belong to a deleted one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They go after it.
    #[default]
    Background,
    /// They go before it.
    Foreground,
    /// They stay, and belong to nobody.
    Orphan,
}

/// A pod's binding to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub node: String,
    /// The digest of the policy that decided; kept as the pod's annotation [`POLICY_ANNOTATION`].
    pub policy: String,
}

/// The annotation of a bound pod that names the policy's digest.
pub const POLICY_ANNOTATION: &str = "sampan.dev/scheduled-by";

impl Write {
    pub fn new(key: Key, operation: Operation) -> Self {
        Write {
            key,
            operation,
            expect: 0,
        }
    }

    #[must_use]
    pub fn expecting(mut self, revision: Revision) -> Self {
        self.expect = revision;
        self
    }
}

impl From<Vec<Write>> for Plan {
    fn from(writes: Vec<Write>) -> Self {
        Plan { writes }
    }
}

impl From<Write> for Plan {
    fn from(write: Write) -> Self {
        Plan { writes: vec![write] }
    }
}

impl From<&Plan> for rpc::Plan {
    fn from(plan: &Plan) -> Self {
        rpc::Plan {
            writes: plan.writes.iter().map(rpc::Write::from).collect(),
        }
    }
}

impl TryFrom<&rpc::Plan> for Plan {
    type Error = ApiError;
    fn try_from(plan: &rpc::Plan) -> Result<Self, ApiError> {
        Ok(Plan {
            writes: plan.writes.iter().map(Write::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Write> for rpc::Write {
    fn from(write: &Write) -> Self {
        use rpc::write::Operation as Message;
        let operation = match &write.operation {
            Operation::Create(object) => Message::Create(object.to_json().into()),
            Operation::Replace(object) => Message::Replace(object.to_json().into()),
            Operation::ReplaceStatus(object) => Message::ReplaceStatus(object.to_json().into()),
            Operation::Merge(patch) => Message::Merge(patch.to_string().into()),
            Operation::MergeStatus(patch) => Message::MergeStatus(patch.to_string().into()),
            Operation::Delete(deletion) => Message::Delete(rpc::Deletion {
                uid: deletion.uid.clone(),
                grace_period_seconds: deletion.grace_period_seconds,
                r#final: deletion.final_,
                propagation: rpc::Propagation::from(deletion.propagation).into(),
            }),
            Operation::Bind(binding) => Message::Bind(rpc::Binding {
                node: binding.node.clone(),
                policy: binding.policy.clone(),
            }),
        };
        rpc::Write {
            key: Some((&write.key).into()),
            operation: Some(operation),
            expect: write.expect,
        }
    }
}

impl TryFrom<&rpc::Write> for Write {
    type Error = ApiError;
    fn try_from(write: &rpc::Write) -> Result<Self, ApiError> {
        use rpc::write::Operation as Message;
        let missing = |what| ApiError::bad_request(format!("a write has no {what}"));
        let patch = |json: &[u8]| {
            serde_json::from_slice(json).map_err(|e| ApiError::bad_request(format!("the patch is not valid JSON: {e}")))
        };
        let operation = match write.operation.as_ref().ok_or_else(|| missing("operation"))? {
            Message::Create(json) => Operation::Create(Object::from_json(json)?),
            Message::Replace(json) => Operation::Replace(Object::from_json(json)?),
            Message::ReplaceStatus(json) => Operation::ReplaceStatus(Object::from_json(json)?),
            Message::Merge(json) => Operation::Merge(patch(json)?),
            Message::MergeStatus(json) => Operation::MergeStatus(patch(json)?),
            Message::Delete(deletion) => Operation::Delete(Deletion {
                uid: deletion.uid.clone(),
                grace_period_seconds: deletion.grace_period_seconds,
                final_: deletion.r#final,
                propagation: deletion.propagation().into(),
            }),
            Message::Bind(binding) => Operation::Bind(Binding {
                node: binding.node.clone(),
                policy: binding.policy.clone(),
            }),
        };
        let key = write.key.as_ref().ok_or_else(|| missing("key"))?.into();
        Ok(Write {
            key,
            operation,
            expect: write.expect,
        })
    }
}

impl From<Propagation> for rpc::Propagation {
    fn from(propagation: Propagation) -> Self {
        match propagation {
            Propagation::Background => rpc::Propagation::Background,
            Propagation::Foreground => rpc::Propagation::Foreground,
            Propagation::Orphan => rpc::Propagation::Orphan,
        }
    }
}

impl From<rpc::Propagation> for Propagation {
    fn from(propagation: rpc::Propagation) -> Self {
        match propagation {
            rpc::Propagation::Foreground => Propagation::Foreground,
            rpc::Propagation::Orphan => Propagation::Orphan,
            rpc::Propagation::Unspecified | rpc::Propagation::Background => Propagation::Background,
        }
    }
}
