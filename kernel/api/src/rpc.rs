//! The gRPC protocol, generated from `proto/`, and the passage between its messages and the types of this crate.
use crate::{ApiError, Reason};

#[allow(clippy::all, clippy::too_many_lines, missing_docs, rust_2018_idioms)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/sampan.v1.rs"));
}
pub use generated::*;

/// The compiled protocol, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sampan.descriptors.bin"));

impl From<&crate::Key> for Key {
    fn from(key: &crate::Key) -> Self {
        Key {
            resource: key.resource.to_string(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
        }
    }
}

impl From<&Key> for crate::Key {
    fn from(key: &Key) -> Self {
        crate::Key::new(&key.resource, &key.namespace, &key.name)
    }
}

impl Object {
    /// The message of an object that is stored under `key`.
    pub fn new(key: &crate::Key, object: &crate::Object) -> Self {
        Object {
            key: Some(key.into()),
            revision: object.metadata.resource_version,
            json: object.to_json().into(),
        }
    }

    /// Reads the object back.
    ///
    /// # Errors
    /// `BadRequest` if the JSON is no object.
    pub fn object(&self) -> Result<crate::Object, ApiError> {
        crate::Object::from_json(&self.json)
    }
}

impl From<&ApiError> for Failure {
    fn from(error: &ApiError) -> Self {
        Failure {
            reason: error.reason.as_str().to_owned(),
            message: error.message.clone(),
            causes: error
                .causes
                .iter()
                .map(|c| Cause {
                    field: c.field.clone(),
                    message: c.message.clone(),
                })
                .collect(),
        }
    }
}

impl From<&Failure> for ApiError {
    fn from(failure: &Failure) -> Self {
        ApiError {
            reason: Reason::from_name(&failure.reason),
            message: failure.message.clone(),
            causes: failure
                .causes
                .iter()
                .map(|c| crate::Cause {
                    field: c.field.clone(),
                    message: c.message.clone(),
                })
                .collect(),
        }
    }
}

#[cfg(feature = "rpc")]
impl From<ApiError> for tonic::Status {
    fn from(error: ApiError) -> Self {
        use prost::Message;
        use tonic::Code;
        let code = match error.reason {
            Reason::NotFound => Code::NotFound,
            Reason::AlreadyExists => Code::AlreadyExists,
            Reason::Conflict => Code::Aborted,
            Reason::Invalid | Reason::BadRequest => Code::InvalidArgument,
            Reason::TooLarge | Reason::TooManyRequests => Code::ResourceExhausted,
            Reason::Forbidden => Code::PermissionDenied,
            Reason::Unauthorized => Code::Unauthenticated,
            Reason::Expired => Code::OutOfRange,
            Reason::Unavailable => Code::Unavailable,
            Reason::Timeout => Code::DeadlineExceeded,
            Reason::Internal => Code::Internal,
        };
        let details = Failure::from(&error).encode_to_vec();
        tonic::Status::with_details(code, error.message, details.into())
    }
}

#[cfg(feature = "rpc")]
impl From<tonic::Status> for ApiError {
    fn from(status: tonic::Status) -> Self {
        use prost::Message;
        use tonic::Code;
        if !status.details().is_empty()
            && let Ok(failure) = Failure::decode(status.details())
            && !failure.reason.is_empty()
        {
            return ApiError::from(&failure);
        }
        let reason = match status.code() {
            Code::NotFound => Reason::NotFound,
            Code::AlreadyExists => Reason::AlreadyExists,
            Code::Aborted => Reason::Conflict,
            Code::InvalidArgument => Reason::BadRequest,
            Code::ResourceExhausted => Reason::TooLarge,
            Code::PermissionDenied => Reason::Forbidden,
            Code::Unauthenticated => Reason::Unauthorized,
            Code::OutOfRange => Reason::Expired,
            Code::Unavailable => Reason::Unavailable,
            Code::DeadlineExceeded => Reason::Timeout,
            _ => Reason::Internal,
        };
        ApiError::new(reason, status.message())
    }
}
