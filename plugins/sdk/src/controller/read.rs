//! Reads of an object's JSON only what is asked for. Most of a pod is of no interest to those who count pods, and there
//! may be ten thousand of them in one call.
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The JSON of an object; of its fields only those at these paths (`status.phase`), or all where there are none. Text
/// that is not JSON reads as `null`.
pub(super) fn parse(json: &str, paths: &[&str]) -> Value {
    if paths.is_empty() {
        return serde_json::from_str(json).unwrap_or_default();
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    Mask { paths: paths.to_vec() }
        .deserialize(&mut reader)
        .unwrap_or_default()
}

/// As [`parse`] reads it, of JSON that was read already.
pub(super) fn prune(json: &Value, paths: &[&str]) -> Value {
    match json {
        _ if paths.is_empty() => json.clone(),
        Value::Object(fields) => {
            let mask = Mask { paths: paths.to_vec() };
            let kept = fields
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), prune(value, &mask.of(name)?.paths))));
            Value::Object(kept.collect())
        }
        _ => Value::Null,
    }
}

/// What is wanted of the value that comes next.
struct Mask<'a> {
    paths: Vec<&'a str>,
}

impl<'a> Mask<'a> {
    /// What is wanted of a field: `None` if nothing, no paths if all of it.
    fn of(&self, field: &str) -> Option<Mask<'a>> {
        let below = |path: &&'a str| path.strip_prefix(field)?.strip_prefix('.');
        if self.paths.contains(&field) {
            return Some(Mask { paths: Vec::new() });
        }
        let paths: Vec<&str> = self.paths.iter().filter_map(below).collect();
        (!paths.is_empty()).then_some(Mask { paths })
    }
}

impl<'de> DeserializeSeed<'de> for Mask<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.paths.is_empty() {
            return serde::Deserialize::deserialize(deserializer);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Mask<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(name) = fields.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.of(&name) {
                Some(mask) => {
                    let value = fields.next_value_seed(mask)?;
                    kept.insert(name.into_owned(), value);
                }
                None => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(kept))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, prune};
    use serde_json::json;

    #[test]
    fn only_what_is_asked_for_is_kept() {
        let pod = r#"{"metadata": {"name": "a", "labels": {"app": "x"}}, "spec": {"nodeName": "n", "containers": [1, {}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1"}}"#;
        let read = parse(pod, &["metadata", "spec.nodeName", "status.phase", "status.conditions"]);
        let expected = json!({"metadata": {"name": "a", "labels": {"app": "x"}}, "spec": {"nodeName": "n"},
            "status": {"phase": "Running"}});
        assert_eq!(read, expected);
        assert_eq!(
            parse(pod, &["spec.containers.image"]),
            json!({"spec": {"containers": null}})
        );
        for paths in [&["metadata.labels", "status"][..], &["spec.containers.image"], &[]] {
            assert_eq!(prune(&parse(pod, &[]), paths), parse(pod, paths));
        }
        assert_eq!(parse(pod, &[])["status"]["podIP"], "10.0.0.1");
        assert_eq!(parse("{", &["metadata"]), json!(null));
    }
}
