//! Overlays of real hosts: network namespaces on one bridge, with real devices, sockets and certificates. They take root.
mod carrying;
mod hostile;
mod moving;
mod stage;
mod traffic;
