//! The agent against a real kernel: real shims, real images, and a control plane that the tests play.
mod plane;
mod restarts;
mod running;
mod serving;
mod support;
mod wired;
