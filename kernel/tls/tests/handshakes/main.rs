//! Real TLS on the loopback: certificates that are replaced while connections stand, and peers that are refused.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A panic here is the test failing.
mod refusing;
mod stage;
mod swapping;
