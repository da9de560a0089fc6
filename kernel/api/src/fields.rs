//! The fields of an object that the kernel keeps as they are: few, and of names that recur, so a sorted list takes a
//! quarter of what a map would.
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Names that most objects share; those of others are kept with the object.
const KNOWN: [&str; 22] = [
    "addressType",
    "automountServiceAccountToken",
    "binaryData",
    "data",
    "endpoints",
    "immutable",
    "involvedObject",
    "message",
    "parameters",
    "ports",
    "provisioner",
    "reason",
    "roleRef",
    "rules",
    "source",
    "spec",
    "status",
    "stringData",
    "subjects",
    "subsets",
    "type",
    "value",
];

/// JSON texts by name, in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(Cow<'static, str>, Box<RawValue>)>);

impl Fields {
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.place(name).ok().map(|at| &*self.0[at].1)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.place(name) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => {
                // Most objects have one or two, and are kept for long.
                self.0.reserve_exact(1);
                self.0.insert(at, (shared(name), value));
            }
        }
    }

    /// From fields in any order; of those of one name the last counts. However many there are: they may be a stranger's.
    pub fn gathered(mut all: Vec<(String, Box<RawValue>)>) -> Self {
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut fields: Vec<(Cow<'static, str>, Box<RawValue>)> = Vec::with_capacity(all.len());
        for (name, value) in all {
            match fields.last_mut().filter(|(last, _)| **last == *name) {
                Some(last) => last.1 = value,
                None => fields.push((shared(&name), value)),
            }
        }
        Fields(fields)
    }

    /// Takes a field out; what it was.
    pub fn remove(&mut self, name: &str) -> Option<Box<RawValue>> {
        self.place(name).ok().map(|at| self.0.remove(at).1)
    }

    /// Makes a field what it is in another object, also if it is not there.
    pub fn take_from(&mut self, other: &Fields, name: &str) {
        match other.get(name) {
            Some(value) => self.set(name, value.to_owned()),
            None => drop(self.remove(name)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the fields that `which` selects mean the same: they are compared as JSON, not as text.
    pub fn same(&self, other: &Fields, which: impl Fn(&str) -> bool) -> bool {
        let mut ours = self.iter().filter(|(name, _)| which(name));
        let mut others = other.iter().filter(|(name, _)| which(name));
        loop {
            match (ours.next(), others.next()) {
                (None, None) => return true,
                (Some((name, a)), Some((other, b))) if name == other && equal(a, b) => {}
                _ => return false,
            }
        }
    }
}

fn equal(a: &RawValue, b: &RawValue) -> bool {
    let parsed = |raw: &RawValue| serde_json::from_str::<serde_json::Value>(raw.get());
    a.get() == b.get() || matches!((parsed(a), parsed(b)), (Ok(a), Ok(b)) if a == b)
}

fn shared(name: &str) -> Cow<'static, str> {
    match KNOWN.binary_search(&name) {
        Ok(known) => Cow::Borrowed(KNOWN[known]),
        Err(_) => Cow::Owned(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn fields_stand_in_the_order_of_their_names() {
        assert!(KNOWN.is_sorted());
        let mut fields = Fields::default();
        for name in ["status", "other", "spec", "aaa"] {
            fields.set(name, raw("1"));
        }
        fields.set("spec", raw("2"));
        let all: Vec<_> = fields.iter().map(|(name, value)| (name, value.get())).collect();
        assert_eq!(all, [("aaa", "1"), ("other", "1"), ("spec", "2"), ("status", "1")]);
        let list = |texts: [(&str, &str); 3]| texts.map(|(name, text)| (name.to_owned(), raw(text))).to_vec();
        let gathered = Fields::gathered(list([("b", "1"), ("a", "2"), ("b", "3")]));
        let all: Vec<_> = gathered.iter().map(|(name, value)| (name, value.get())).collect();
        assert_eq!(all, [("a", "2"), ("b", "3")]);
        assert_eq!(fields.remove("other").unwrap().get(), "1");
        assert!(fields.remove("other").is_none() && fields.get("other").is_none() && fields.len() == 3);
    }

    #[test]
    fn meaning_counts_and_not_text() {
        let of = |text: &str| {
            let mut fields = Fields::default();
            fields.set("spec", raw(text));
            fields
        };
        assert!(of(r#"{"a":1,"b":2}"#).same(&of(r#"{ "b": 2, "a": 1 }"#), |_| true));
        assert!(!of("1").same(&of("2"), |_| true) && of("1").same(&of("2"), |name| name != "spec"));
        assert!(!of("1").same(&Fields::default(), |_| true));
    }
}
