//! Floor 2: OCI images. Names as Docker reads them, a registry client, a content-addressed store, safe unpacking into
//! overlay lowers, archives in and out, and building.
//!
//! A node needs four calls: [`Store::open`], [`Store::pull`] (or [`Store::load`], [`Store::build`]),
//! [`Store::prepare`] just before a container starts, and [`Store::remove`]. Pulling over TLS needs a process-wide
//! rustls provider to be installed before.
//!
//! Invariants:
//! - a file below `blobs/` has the digest that its name says, and a directory below `layers/` is whole: both appear by
//!   rename, after an fsync;
//! - what a lease, the index or the caller's used digests name is never collected;
//! - no byte of an image decides a path outside the directory that it is unpacked to.

mod auth;
mod build;
mod config;
mod digest;
mod error;
mod inspect;
mod load;
mod manifest;
mod platform;
mod pull;
mod reference;
mod registry;
mod rootfs;
mod store;
mod unpack;
mod user;

pub use auth::Auth;
pub use build::{BuildConfig, BuildSource, build_archive};
pub use config::ImageConfig;
pub use digest::Digest;
pub use error::{ImageError, Result};
pub use platform::Platform;
pub use pull::{Progress, PullOptions};
pub use reference::Reference;
pub use rootfs::Prepared;
pub use store::{Image, Kind, Lease, Removed, Store};
pub use unpack::{UnpackLimits, unpack_layer};
pub use user::{ResolvedUser, resolve_user};
