//! The three calls that the crate `raft` makes on the crate `protobuf` 2, answered by prost for every prost message.
//!
//! It takes the place of `protobuf` 2.28 (RUSTSEC-2024-0437) by `[patch.crates-io]`; nothing else in the house uses it.

/// A message could not be read.
#[derive(Debug)]
pub struct ProtobufError(prost::DecodeError);

impl std::fmt::Display for ProtobufError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ProtobufError {}

/// What `raft` asks of a message.
pub trait Message {
    /// The bytes its encoding takes.
    fn compute_size(&self) -> u32;
    /// Its encoding. Never fails; the result is `protobuf`'s signature.
    ///
    /// # Errors
    /// None.
    fn write_to_bytes(&self) -> Result<Vec<u8>, ProtobufError>;
    /// Reads an encoding on top of what is there.
    ///
    /// # Errors
    /// If the bytes are no encoding of the message.
    fn merge_from_bytes(&mut self, bytes: &[u8]) -> Result<(), ProtobufError>;
}

impl<T: prost::Message> Message for T {
    fn compute_size(&self) -> u32 {
        u32::try_from(self.encoded_len()).unwrap_or(u32::MAX)
    }

    fn write_to_bytes(&self) -> Result<Vec<u8>, ProtobufError> {
        Ok(self.encode_to_vec())
    }

    fn merge_from_bytes(&mut self, bytes: &[u8]) -> Result<(), ProtobufError> {
        self.merge(bytes).map_err(ProtobufError)
    }
}

#[cfg(test)]
mod tests {
    use super::Message as _;

    #[test]
    fn sizes_writes_and_merges_as_prost_does() {
        let text = "abc".to_owned();
        let bytes = text.write_to_bytes().unwrap();
        assert_eq!(
            (bytes.as_slice(), text.compute_size()),
            (&[0x0a, 3, b'a', b'b', b'c'][..], 5)
        );
        let mut again = String::new();
        again.merge_from_bytes(&bytes).unwrap();
        assert_eq!(again, text);
        assert!(again.merge_from_bytes(&[0x0a, 9]).is_err());
    }
}
