//! Floor 3: the control plane: Raft driver, log on disk, gRPC services, authentication, the scheduling loop, running
//! plugins.
pub mod replica;
