//! Compiles the protocol with a protobuf compiler in Rust, so that no system `protoc` is needed.
use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = [
        "sampan/v1/objects.proto",
        "sampan/v1/cluster.proto",
        "sampan/v1/runtime.proto",
        "sampan/v1/peers.proto",
        "sampan/v1/certificates.proto",
    ];
    let descriptors = protox::compile(files, ["proto"])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("sampan.descriptors.bin"), descriptors.encode_to_vec())?;
    let services = std::env::var_os("CARGO_FEATURE_RPC").is_some();
    tonic_prost_build::configure()
        .build_client(services)
        .build_server(services)
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
