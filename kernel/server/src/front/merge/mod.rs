//! How a change meets what is there: the three kinds of patch, and the three-way merge of `apply`.
pub mod json_patch;
mod lists;
pub mod strategic;
pub mod three_way;

pub use lists::Lists;
