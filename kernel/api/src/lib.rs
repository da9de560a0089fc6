//! Floor 0: objects, keys, selectors, revisions, plans, and the gRPC protocol everything speaks.
//!
//! Nothing here does I/O, reads a clock or draws a random number.
pub mod dual;
pub mod error;
pub mod fields;
pub mod key;
pub mod kinds;
pub mod meta;
pub mod object;
pub mod plan;
pub mod plugin;
pub mod quantity;
pub mod ranges;
pub mod rpc;
pub mod selector;
pub mod time;
pub mod validate;

pub use error::{ApiError, Cause, Reason};
pub use fields::Fields;
pub use key::Key;
pub use kinds::KindInfo;
pub use meta::{Meta, OwnerReference};
pub use object::Object;
pub use plan::{Operation, Plan, Write};
pub use selector::{FieldSelector, LabelSelector, Selection};

/// The cluster's revision: rises by one with every committed plan that changes something. 0 is before all of them.
pub type Revision = u64;

/// The namespace of who names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The host name in every server's certificate: for those who do not care which one answers.
pub const SERVERS_HOST: &str = "servers.sampan";

/// What an object's JSON may take, in bytes; etcd's limit, which Kubernetes' users know.
pub const MAX_OBJECT_BYTES: usize = 1_572_864;
