//! Tokens: how a machine that nobody knows yet joins. A token names the authority it may trust, and a secret of which the
//! cluster keeps only the digest.
//!
//! In text: `sampan1.ID.SECRET.FINGERPRINT`, the last being the SHA-256 of the authority's certificate.
use sampan_api::{ApiError, Key, Object, Operation, Reason, Write, kinds, time::Timestamp};
use serde_json::json;
use std::{fmt, str::FromStr};

/// The resource of Token objects.
pub const RESOURCE: &str = "tokens.sampan.dev";

const PREFIX: &str = "sampan1";
const ID: usize = 8;
const SECRET: usize = 32;
const FINGERPRINT: usize = 64;

/// What a machine may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Server,
    Node,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Node => "node",
        }
    }
}

impl FromStr for Role {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        match text {
            "server" => Ok(Role::Server),
            "node" => Ok(Role::Node),
            other => Err(ApiError::bad_request(format!(
                "no role \"{other}\": a machine joins as server or as node"
            ))),
        }
    }
}

/// A token as it is handed about.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub id: String,
    secret: String,
    /// SHA-256 of the authority's certificate.
    pub fingerprint: String,
}

/// Secrets are not for logs.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.id)
    }
}

impl FromStr for Token {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
        match parts[..] {
            [PREFIX, id, secret, print] if hex(id, ID) && hex(secret, SECRET) && hex(print, FINGERPRINT) => Ok(Token {
                id: id.to_owned(),
                secret: secret.to_owned(),
                fingerprint: print.to_owned(),
            }),
            _ => Err(ApiError::bad_request(format!(
                "this is no token: one looks like {PREFIX}.ID.SECRET.FINGERPRINT, and `sampan token create` makes them"
            ))),
        }
    }
}

impl Token {
    pub fn new(fingerprint: String) -> Self {
        Token {
            id: format!("{:08x}", rand::random::<u32>()),
            secret: format!("{:032x}", rand::random::<u128>()),
            fingerprint,
        }
    }

    /// With its secret.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}.{}.{}.{}", self.id, self.secret, self.fingerprint)
    }

    fn digest(&self) -> String {
        sampan_state::digest_of(self.secret.as_bytes())
    }

    pub fn key(&self) -> Key {
        Key::new(RESOURCE, "", &self.id)
    }

    /// The object that lets it in until then.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn object(&self, role: Role, expires_ms: u64, single_use: bool, description: &str) -> Result<Object, ApiError> {
        let kind = kinds::of_resource(RESOURCE).ok_or_else(|| ApiError::internal("tokens are no kind"))?;
        let spec = json!({
            "role": role.as_str(), "secretDigest": self.digest(), "singleUse": single_use, "description": description,
            "expirationTimestamp": Timestamp::from_millis(expires_ms),
        });
        Ok(Object::new(kind, "", &self.id).with_field("spec", &spec))
    }

    /// Whether this token lets in as that role, by its object; and the write that notes who came with it.
    ///
    /// # Errors
    /// `Unauthorized` or `Forbidden`, and what to do.
    pub fn admit(&self, object: Option<&Object>, role: Role, name: &str, now_ms: u64) -> Result<Write, ApiError> {
        let again = "`sampan token create` makes another";
        let refused = |why: String| ApiError::new(Reason::Unauthorized, format!("{why}: {again}"));
        // Nobody learns from the answer which tokens there are.
        let unknown = || refused("the token is not known, or was revoked".to_owned());
        let object = object.ok_or_else(unknown)?;
        let spec = object.field_value("spec");
        let digest = spec["secretDigest"].as_str().unwrap_or_default();
        if !equal(digest.as_bytes(), self.digest().as_bytes()) {
            return Err(unknown());
        }
        let expires: Timestamp = serde_json::from_value(spec["expirationTimestamp"].clone())
            .map_err(|error| ApiError::internal(format!("token {}: {error}", self.id)))?;
        if expires.as_millis() <= now_ms {
            let now = Timestamp::from_millis(now_ms);
            return Err(refused(format!(
                "token {} has expired at {expires}, and this server's clock says {now}",
                self.id
            )));
        }
        let wanted = spec["role"].as_str().unwrap_or_default();
        if wanted != role.as_str() {
            let message = format!("token {} is for joining as {wanted}, not as {}", self.id, role.as_str());
            return Err(ApiError::new(Reason::Forbidden, format!("{message}: {again}")));
        }
        let status = object.field_value("status");
        let mut used = status["usedBy"].as_array().cloned().unwrap_or_default();
        if spec["singleUse"] == true && !used.is_empty() {
            return Err(refused(format!(
                "token {} was good for one machine and is used",
                self.id
            )));
        }
        used.push(name.into());
        let write = Write::new(self.key(), Operation::MergeStatus(json!({"status": {"usedBy": used}})));
        Ok(write.expecting(object.metadata.resource_version))
    }
}

/// Compares in a time that does not depend on where they differ.
fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_lets_in_once() {
        let token = Token::new("ab".repeat(32));
        let again: Token = token.reveal().parse().unwrap();
        assert_eq!(again, token);
        assert!(!format!("{token:?}").contains(&token.secret));
        let mut object = token.object(Role::Node, 1000, true, "").unwrap();
        let refusal = |role, now, object: Option<&Object>| token.admit(object, role, "n1", now).unwrap_err().message;
        assert!(refusal(Role::Node, 1000, Some(&object)).contains("expired"));
        assert!(refusal(Role::Server, 1, Some(&object)).contains("as node"));
        assert!(refusal(Role::Node, 1, None).contains("not known"));
        let forged = Token {
            secret: "0".repeat(32),
            ..token.clone()
        };
        assert!(
            forged
                .admit(Some(&object), Role::Node, "n1", 1)
                .unwrap_err()
                .message
                .contains("not known")
        );
        assert!(token.admit(Some(&object), Role::Node, "n1", 1).is_ok());
        object.set_field("status", &json!({"usedBy": ["n1"]}));
        assert!(refusal(Role::Node, 1, Some(&object)).contains("is used"));
    }

    #[test]
    fn rubbish_is_no_token() {
        for text in ["", "sampan1", "sampan1.a.b.c", "k10::x", &"a.".repeat(100)] {
            assert!(text.parse::<Token>().is_err(), "{text}");
        }
    }
}
