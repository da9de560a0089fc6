//! YAML and JSON into trees that remember where each value stood, within bounds of size, depth and aliases.
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};
use std::{collections::BTreeMap, fmt};

/// The largest text that is read. Bytes.
pub const MAX_BYTES: usize = 16 << 20;

/// How deeply collections may be nested.
const MAX_DEPTH: usize = 100;

/// Values in one text, after aliases are expanded.
const MAX_NODES: usize = 2_000_000;

/// One document of a text.
#[derive(Clone, Debug)]
pub struct Document {
    pub value: Value,
    pub marks: Marks,
}

/// Where the values of a document stand, by path as in `spec.containers[0].image`.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    at: BTreeMap<String, (u64, u64)>,
}

impl Marks {
    /// Line and column of a field, or of the nearest that it is in. Both count from 1.
    pub fn nearest(&self, field: &str) -> (u64, u64) {
        let mut path = field;
        loop {
            if let Some(mark) = self.at.get(path) {
                return *mark;
            }
            if path.is_empty() {
                return (1, 1);
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
        }
    }

    /// Those of what stands at a path, as seen from there.
    #[must_use]
    pub fn within(&self, prefix: &str) -> Self {
        let own = self
            .at
            .range(prefix.to_owned()..)
            .take_while(|(path, _)| path.starts_with(prefix));
        let own = own.filter_map(|(path, mark)| {
            let rest = &path[prefix.len()..];
            (rest.is_empty() || rest.starts_with('.') || rest.starts_with('['))
                .then(|| (rest.trim_start_matches('.').to_owned(), *mark))
        });
        Marks { at: own.collect() }
    }
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct Malformed {
    pub line: u64,
    pub column: u64,
    pub message: String,
}

/// Reads all documents of a text; empty ones are left out.
///
/// # Errors
/// What is wrong with the first that is.
pub fn parse(text: &str) -> Result<Vec<Document>, Malformed> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if let Some(documents) = parse_json(text) {
        return Ok(documents);
    }
    let trees: Vec<Spanned<Node>> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| malformed(&error))?;
    Ok(trees
        .into_iter()
        .map(document)
        .filter(|document| !document.value.is_null())
        .collect())
}

/// JSON that no YAML parser likes (tabs, keys of any length); none where the text is not JSON throughout. Its values have
/// no marks but the first line of each document.
fn parse_json(text: &str) -> Option<Vec<Document>> {
    if !text.trim_start().starts_with('{') || !text.contains('\t') {
        return None;
    }
    let mut reader = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut documents = Vec::new();
    loop {
        let start = reader.byte_offset();
        let Some(next) = reader.next() else { break };
        let value = next.ok()?;
        let skipped = text[start..].len() - text[start..].trim_start().len();
        let line = 1 + text[..start + skipped].matches('\n').count() as u64;
        documents.push(Document {
            value,
            marks: Marks {
                at: BTreeMap::from([(String::new(), (line, 1))]),
            },
        });
    }
    Some(documents)
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
            max_documents: 10_000,
            max_total_scalar_bytes: MAX_BYTES,
            simple_key_max_lookahead: 65_536,
        },
        emit_comments: false,
        strict_booleans: false,
        // `defaultMode: 0400` means what kubectl makes of it.
        legacy_octal_numbers: true,
    }
}

fn malformed(error: &serde_saphyr::Error) -> Malformed {
    let location = error.location();
    let (line, column) = location.map_or((1, 1), |at| (at.line().max(1), at.column().max(1)));
    let message = error.without_snippet().to_string();
    // The position is said in front.
    let message = message.split(" at line ").next().unwrap_or(&message);
    let message = match message.find("line ") {
        Some(0) => message.split_once(": ").map_or(message, |(_, rest)| rest),
        _ => message,
    };
    Malformed {
        line,
        column,
        message: message.trim().to_owned(),
    }
}

/// A value as it stands in the text.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(String, Spanned<Node>)>),
}

fn document(tree: Spanned<Node>) -> Document {
    let mut marks = Marks::default();
    let value = plant(tree, String::new(), &mut marks);
    Document { value, marks }
}

fn plant(tree: Spanned<Node>, path: String, marks: &mut Marks) -> Value {
    let mark = if tree.referenced == Location::UNKNOWN {
        tree.defined
    } else {
        tree.referenced
    };
    let value = match tree.value {
        Node::Scalar(value) => value,
        Node::List(items) => {
            let items = items.into_iter().enumerate();
            Value::Array(
                items
                    .map(|(index, item)| plant(item, format!("{path}[{index}]"), marks))
                    .collect(),
            )
        }
        Node::Map(entries) => {
            let mut map = Map::with_capacity(entries.len());
            for (name, entry) in entries {
                let inner = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                map.insert(name, plant(entry, inner, marks));
            }
            Value::Object(map)
        }
    };
    marks.at.insert(path, (mark.line().max(1), mark.column().max(1)));
    value
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        let number =
            Number::from_f64(value).ok_or_else(|| E::custom("a number that is none (.nan, .inf) is not JSON"))?;
        Ok(Node::Scalar(number.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = access.next_key()? {
            entries.push((name, access.next_value()?));
        }
        Ok(Node::Map(entries))
    }
}
