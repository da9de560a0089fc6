//! The one error that crosses the protocol, with Kubernetes' reasons.
use std::fmt;

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    NotFound,
    AlreadyExists,
    /// It was decided on a revision that is no longer current.
    Conflict,
    /// Well-formed, but against a rule.
    Invalid,
    /// Not well-formed.
    BadRequest,
    TooLarge,
    Forbidden,
    Unauthorized,
    /// The revision asked for was compacted away.
    Expired,
    /// Try again: no leader, a full disk, a node that is away.
    Unavailable,
    Timeout,
    /// Not now: a budget is used up. Later it may be done.
    TooManyRequests,
    Internal,
}

impl Reason {
    const ALL: [(Reason, &'static str); 13] = [
        (Reason::NotFound, "NotFound"),
        (Reason::AlreadyExists, "AlreadyExists"),
        (Reason::Conflict, "Conflict"),
        (Reason::Invalid, "Invalid"),
        (Reason::BadRequest, "BadRequest"),
        (Reason::TooLarge, "RequestEntityTooLarge"),
        (Reason::Forbidden, "Forbidden"),
        (Reason::Unauthorized, "Unauthorized"),
        (Reason::Expired, "Expired"),
        (Reason::Unavailable, "ServiceUnavailable"),
        (Reason::Timeout, "Timeout"),
        (Reason::TooManyRequests, "TooManyRequests"),
        (Reason::Internal, "InternalError"),
    ];

    /// Kubernetes' name of it.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(r, _)| *r == self)
            .map_or("InternalError", |(_, name)| name)
    }

    /// The reason of that name; `Internal` where there is none.
    pub fn from_name(name: &str) -> Self {
        Self::ALL
            .iter()
            .find(|(_, n)| *n == name)
            .map_or(Reason::Internal, |(r, _)| *r)
    }
}

/// One thing wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// As in `spec.template.spec.containers[0].image`.
    pub field: String,
    pub message: String,
}

/// What was refused, why, and for which fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ApiError {
    pub reason: Reason,
    /// Says what, where and what to do.
    pub message: String,
    pub causes: Vec<Cause>,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.causes.as_slice() {
            [] => Ok(()),
            [one] => write!(f, ": {}: {}", one.field, one.message),
            many => many
                .iter()
                .try_for_each(|c| write!(f, "\n  * {}: {}", c.field, c.message)),
        }
    }
}

impl ApiError {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        ApiError {
            reason,
            message: message.into(),
            causes: Vec::new(),
        }
    }

    /// `deployments.apps "web" not found`
    pub fn not_found(key: &crate::Key) -> Self {
        Self::new(Reason::NotFound, format!("{key} not found"))
    }

    /// `pods "web" already exists`
    pub fn already_exists(key: &crate::Key) -> Self {
        Self::new(Reason::AlreadyExists, format!("{key} already exists"))
    }

    /// The object was written since `expect`.
    pub fn conflict(key: &crate::Key, expect: crate::Revision, found: crate::Revision) -> Self {
        let message = format!(
            "{key} has been modified: it is at revision {found}, your change was made on {expect}; get it again and \
             repeat your change"
        );
        Self::new(Reason::Conflict, message)
    }

    pub fn invalid(message: impl Into<String>, causes: Vec<Cause>) -> Self {
        ApiError {
            reason: Reason::Invalid,
            message: message.into(),
            causes,
        }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Reason::Unavailable, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Reason::Internal, message)
    }
}
