//! Reads templates and paths.
use super::{Comparison, Filter, Operand, Part, Path, Step, Template};
use serde_json::Value;

/// What cannot be read, and at which character.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing jsonpath {text}, {message} at column {column}")]
pub struct Wrong {
    pub text: String,
    pub message: String,
    pub column: usize,
}

/// Unions and filters may hold paths that hold unions; nobody means more than this.
const MAX_DEPTH: usize = 16;

pub(super) fn template(text: &str) -> Result<Template, Wrong> {
    let braced = if text.contains('{') {
        text.to_owned()
    } else {
        format!("{{{}}}", relaxed(text))
    };
    let mut reader = Reader::new(&braced, 0);
    let parts = reader.parts(false)?;
    Ok(Template { parts })
}

pub(super) fn path(text: &str) -> Result<Path, Wrong> {
    let text = text.trim();
    let inner = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .unwrap_or(text);
    let inner = relaxed(inner);
    let mut reader = Reader::new(&inner, 0);
    let path = reader.path()?;
    if reader.peek().is_some() {
        return Err(reader.wrong("unexpected text after the path"));
    }
    Ok(path)
}

/// A path may be written without its first dot.
fn relaxed(text: &str) -> String {
    let starts = |c: char| matches!(c, '.' | '[' | '$' | '@' | '\'' | '"');
    if text.is_empty() || text.starts_with(starts) {
        text.to_owned()
    } else {
        format!(".{text}")
    }
}

struct Reader<'a> {
    text: &'a str,
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, depth: usize) -> Self {
        Reader {
            text,
            chars: text.chars().collect(),
            at: 0,
            depth,
        }
    }

    fn wrong(&self, message: &str) -> Wrong {
        Wrong {
            text: self.text.to_owned(),
            message: message.to_owned(),
            column: self.at + 1,
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn eat(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        self.at += usize::from(found);
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.chars[self.at..].iter().copied().take(word.len()).eq(word.chars());
        if found {
            self.at += word.len();
        }
        found
    }

    fn spaces(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn parts(&mut self, within_range: bool) -> Result<Vec<Part>, Wrong> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        while let Some(c) = self.peek() {
            if c != '{' {
                plain.push(c);
                self.at += 1;
                continue;
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            self.at += 1;
            self.spaces();
            if self.eat_word("end") {
                self.close()?;
                if within_range {
                    return Ok(parts);
                }
                return Err(self.wrong("end without range"));
            }
            parts.push(self.action()?);
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        if within_range {
            Err(self.wrong("range without end"))
        } else {
            Ok(parts)
        }
    }

    fn action(&mut self) -> Result<Part, Wrong> {
        if self.eat_word("range") {
            self.spaces();
            let path = self.path()?;
            self.close()?;
            self.deeper()?;
            let inner = self.parts(true)?;
            self.depth -= 1;
            return Ok(Part::Range(path, inner));
        }
        let part = match self.peek() {
            Some('"' | '\'') => Part::Text(self.quoted()?),
            Some(_) => Part::Path(self.path()?),
            None => return Err(self.wrong("unclosed action")),
        };
        self.close()?;
        Ok(part)
    }

    fn deeper(&mut self) -> Result<(), Wrong> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            Err(self.wrong("nested too deeply"))
        } else {
            Ok(())
        }
    }

    fn close(&mut self) -> Result<(), Wrong> {
        self.spaces();
        match self.peek() {
            Some('}') => self.at += 1,
            None => return Err(self.wrong("unclosed action")),
            Some(other) => return Err(self.wrong(&format!("unexpected '{other}'"))),
        }
        Ok(())
    }

    fn quoted(&mut self) -> Result<String, Wrong> {
        let quote = self.peek();
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err(self.wrong("unterminated text")),
                c if c == quote => {
                    self.at += 1;
                    return Ok(text);
                }
                Some('\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some('n') => text.push('\n'),
                        Some('t') => text.push('\t'),
                        Some('r') => text.push('\r'),
                        Some(other) => text.push(other),
                        None => return Err(self.wrong("unterminated text")),
                    }
                    self.at += 1;
                }
                Some(c) => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
    }

    fn path(&mut self) -> Result<Path, Wrong> {
        let from_root = self.eat('$');
        if !from_root {
            self.eat('@');
        }
        let mut steps = Vec::new();
        loop {
            match self.peek() {
                Some('.') => {
                    self.at += 1;
                    if self.eat('.') {
                        steps.push(Step::Descend);
                    }
                    match self.peek() {
                        Some('*') => {
                            self.at += 1;
                            steps.push(Step::Wild);
                        }
                        // `.[0]` and a lone `.` are the value itself.
                        Some('[') | None => {}
                        _ => {
                            let name = self.name();
                            if !name.is_empty() {
                                steps.push(Step::Field(name));
                            }
                        }
                    }
                }
                Some('[') => steps.push(self.bracket()?),
                _ => return Ok(Path { steps, from_root }),
            }
        }
    }

    /// A field's name; a backslash takes the next character as it is, as in `kubernetes\.io/arch`.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if c == '\\' {
                self.at += 1;
                name.extend(self.peek());
            } else if c.is_whitespace()
                || matches!(c, '.' | '[' | ']' | '{' | '}' | '(' | ')' | '=' | '!' | '<' | '>' | ',')
            {
                break;
            } else {
                name.push(c);
            }
            self.at += 1;
        }
        name
    }

    fn bracket(&mut self) -> Result<Step, Wrong> {
        self.at += 1;
        self.spaces();
        let step = if self.eat('*') {
            Step::Wild
        } else if self.eat('?') {
            self.filter()?
        } else if self.peek() == Some('\'') || self.peek() == Some('"') {
            self.names()?
        } else {
            self.numbers()?
        };
        self.spaces();
        if self.eat(']') {
            Ok(step)
        } else {
            Err(self.wrong("unterminated array"))
        }
    }

    /// `['a']` is a field by that name; `['a.b','c']` is each of these paths.
    fn names(&mut self) -> Result<Step, Wrong> {
        let mut names = vec![self.quoted()?];
        self.spaces();
        while self.eat(',') {
            self.spaces();
            names.push(self.quoted()?);
            self.spaces();
        }
        if names.len() == 1 {
            return Ok(Step::Field(names.remove(0)));
        }
        self.deeper()?;
        let depth = self.depth;
        let read = |name: &String| Reader::new(&relaxed(name), depth).path();
        let paths = names.iter().map(read).collect::<Result<_, _>>()?;
        self.depth -= 1;
        Ok(Step::Union(paths))
    }

    /// `[0]`, `[-1]`, `[0,2]`, `[1:3]`, `[::2]`.
    fn numbers(&mut self) -> Result<Step, Wrong> {
        let first = self.number()?;
        self.spaces();
        if self.eat(':') {
            let to = self.number()?;
            let step = if self.eat(':') { self.number()?.unwrap_or(1) } else { 1 };
            if step < 1 {
                return Err(self.wrong("the step of a slice must be 1 or more"));
            }
            return Ok(Step::Slice(first, to, step));
        }
        let mut indices = vec![first.ok_or_else(|| self.wrong("invalid array index"))?];
        while self.eat(',') {
            self.spaces();
            indices.push(self.number()?.ok_or_else(|| self.wrong("invalid array index"))?);
            self.spaces();
        }
        if let [only] = indices.as_slice() {
            return Ok(Step::Index(*only));
        }
        let path = |index| Path {
            steps: vec![Step::Index(index)],
            from_root: false,
        };
        Ok(Step::Union(indices.into_iter().map(path).collect()))
    }

    fn number(&mut self) -> Result<Option<i64>, Wrong> {
        let start = self.at;
        self.eat('-');
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start {
            return Ok(None);
        }
        let text: String = self.chars[start..self.at].iter().collect();
        text.parse().map(Some).map_err(|_| self.wrong("invalid array index"))
    }

    fn filter(&mut self) -> Result<Step, Wrong> {
        if !self.eat('(') {
            return Err(self.wrong("expected ( after ?"));
        }
        self.deeper()?;
        self.spaces();
        let left = self.operand()?;
        self.spaces();
        let test = match self.comparison() {
            None => None,
            Some(comparison) => {
                self.spaces();
                Some((comparison, self.operand()?))
            }
        };
        self.spaces();
        self.depth -= 1;
        if self.eat(')') {
            Ok(Step::Filter(Box::new(Filter { left, test })))
        } else {
            Err(self.wrong("unterminated filter"))
        }
    }

    fn comparison(&mut self) -> Option<Comparison> {
        // Longer ones first.
        let known = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        known
            .into_iter()
            .find(|(word, _)| self.eat_word(word))
            .map(|(_, comparison)| comparison)
    }

    fn operand(&mut self) -> Result<Operand, Wrong> {
        match self.peek() {
            Some('@' | '$' | '.' | '[') => Ok(Operand::Path(self.path()?)),
            Some('"' | '\'') => Ok(Operand::Literal(Value::String(self.quoted()?))),
            _ => {
                let start = self.at;
                let ends = |c: char| c.is_whitespace() || matches!(c, ')' | '=' | '!' | '<' | '>');
                while self.peek().is_some_and(|c| !ends(c)) {
                    self.at += 1;
                }
                let word: String = self.chars[start..self.at].iter().collect();
                serde_json::from_str(&word)
                    .map(Operand::Literal)
                    .map_err(|_| self.wrong("unrecognized literal"))
            }
        }
    }
}
