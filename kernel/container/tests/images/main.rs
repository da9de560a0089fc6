//! Images as other tools make and serve them: Debian's registry, skopeo and umoci on one side, the store on the other.
// Tests may panic; clippy sees that only of functions marked as tests, not of those that serve them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod archives;
mod building;
mod fake;
mod killing;
mod overlay;
mod pulling;
mod storing;
mod support;
mod unpacking;
mod unruly;
