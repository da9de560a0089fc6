//! A hash for small numbers. What it hashes are the kernel's own numbers, so nobody chooses them to collide.
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// A map by small numbers, or by lists of them. Iterate it only where order does not matter.
pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<Fold>>;

/// Multiply and fold, a word at a time.
#[derive(Clone, Copy, Default)]
pub struct Fold(u64);

impl Fold {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, value: u8) {
        self.add(value.into());
    }
    fn write_u32(&mut self, value: u32) {
        self.add(value.into());
    }
    fn write_i32(&mut self, value: i32) {
        self.add(u64::from(value.cast_unsigned()));
    }
    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }
    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}
