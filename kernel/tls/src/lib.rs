//! Floor 1: mutual TLS, the same for servers, nodes and clients.
//!
//! A process has one [`Credentials`]: what it shows of itself, and whom it trusts. Its listener ([`Handshakes`]) and all its
//! connections ([`Dialer`]) look there at each handshake, so a certificate that is replaced is shown from the next handshake
//! on, and connections that stand are left alone. [`keep_fresh`] replaces it in time; [`lifetimes`] says when that is.
//! Sessions are never resumed: a resumed one would go on with the certificate it began with.
mod certificate;
mod credentials;
mod dial;
pub mod files;
pub mod lifetimes;
mod listen;
mod pairing;
mod refused;
mod renewing;
mod request;

pub use certificate::{Certificate, Unreadable, Validity};
pub use credentials::{Credentials, CredentialsError, KeyPair};
pub use dial::{DialError, Dialer, Tcp};
pub use lifetimes::Lifetimes;
pub use listen::{Clients, Handshakes};
pub use pairing::Unpaired;
pub use refused::{Refused, Why, alert, origin, refused};
pub use renewing::{Asks, Renewer, keep_fresh, renewer};
pub use request::Request;
