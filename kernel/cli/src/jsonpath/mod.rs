//! JSONPath as kubectl has it: templates of text and `{paths}`, with `range`, filters, slices, unions and recursion.
//!
//! Source: <https://kubernetes.io/docs/reference/kubectl/jsonpath/>
mod eval;
mod parse;

pub use parse::Wrong;

use serde_json::Value;

/// A template: text, paths, ranges.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

/// A single path, as `--sort-by` and custom columns take it.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    steps: Vec<Step>,
    /// Whether it starts at `$` rather than at the current value.
    from_root: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Path(Path),
    /// The parts, for each value of the path.
    Range(Path, Vec<Part>),
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// Everything in it.
    Wild,
    /// From, to, step; as in Python.
    Slice(Option<i64>, Option<i64>, i64),
    Index(i64),
    /// Each in turn.
    Union(Vec<Path>),
    /// It and everything below it.
    Descend,
    Filter(Box<Filter>),
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Operand,
    /// Without: whether `left` is there.
    test: Option<(Comparison, Operand)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(Path),
    Literal(Value),
}

impl Template {
    /// Reads a template; a path without braces is taken as one.
    ///
    /// # Errors
    /// What is wrong, and at which character.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        parse::template(text)
    }

    /// What it makes of a value. What is missing is left out.
    pub fn render(&self, value: &Value) -> String {
        let mut out = String::new();
        eval::render(&self.parts, value, value, &mut out);
        out
    }
}

impl Path {
    /// Reads `.metadata.name`, `{.metadata.name}` or `metadata.name`.
    ///
    /// # Errors
    /// What is wrong, and at which character.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        parse::path(text)
    }

    /// All values that it leads to.
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        eval::find(self, value, value)
    }
}

/// A value as a template shows it: texts as they are, the rest as JSON.
pub fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
