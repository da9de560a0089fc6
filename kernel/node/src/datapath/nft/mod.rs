//! The kernel's nf_tables, spoken to over netlink: messages, expressions, and batches that hold whole or not at all.
//!
//! What the numbers mean is in Linux's `include/uapi/linux/netfilter/nf_tables.h` and `nfnetlink.h`.
mod batch;
pub(super) mod expression;
mod message;
mod question;
pub(super) mod set;
mod socket;

pub(super) use batch::{Batch, Hook, HookPoint};
pub(super) use expression::{Expression, Register, Verdict};
pub(super) use message::{Bytes, F_DUMP, attribute};
pub(super) use set::{Element, SetKind};
pub(super) use socket::{Refusal, SendError, Socket};
