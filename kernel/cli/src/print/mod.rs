//! Printing objects: tables with kubectl's columns, YAML, JSON, names, JSONPath and columns of the user's own.
pub mod age;
pub mod columns;
pub mod format;
pub mod table;
pub mod tabs;
pub mod yaml;

pub use age::Moment;
pub use format::Format;
pub use table::Table;
