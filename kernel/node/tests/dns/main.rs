//! The cluster's DNS over real sockets of the loopback, with name servers behind it that the tests make.
mod cluster;
mod forwarding;
mod pods;
mod support;
mod tools;
