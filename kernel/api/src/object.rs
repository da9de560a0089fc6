//! An object: metadata the kernel understands, and fields it keeps as they are.
use crate::{ApiError, Fields, Key, KindInfo, MAX_OBJECT_BYTES, Meta, Reason, kinds};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;
use std::fmt;

/// A Kubernetes object. What is neither apiVersion, kind nor metadata (`spec`, `status`, `data`, …) stays as the JSON
/// text it came in, one text for each field: a change of metadata or status costs nothing of the rest.
#[derive(Clone, Debug, Default)]
pub struct Object {
    pub api_version: String,
    pub kind: String,
    pub metadata: Meta,
    /// The other fields, by name.
    pub fields: Fields,
}

impl Object {
    /// A new object of a kind, with no fields yet.
    pub fn new(kind: &KindInfo, namespace: &str, name: &str) -> Self {
        Object {
            api_version: kind.api_version.to_owned(),
            kind: kind.kind.to_owned(),
            metadata: Meta {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                ..Meta::default()
            },
            fields: Fields::default(),
        }
    }

    /// Reads an object, at most [`MAX_OBJECT_BYTES`] of it.
    ///
    /// # Errors
    /// `TooLarge`, or `BadRequest` saying where the JSON is wrong.
    pub fn from_json(json: &[u8]) -> Result<Self, ApiError> {
        if json.len() > MAX_OBJECT_BYTES {
            let message = format!(
                "the object has {} bytes, and {MAX_OBJECT_BYTES} are the limit",
                json.len()
            );
            return Err(ApiError::new(Reason::TooLarge, message));
        }
        serde_json::from_slice(json).map_err(|e| ApiError::bad_request(format!("the object is not valid JSON: {e}")))
    }

    /// Its JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(self.weight());
        // Strings, numbers and texts that were JSON: there is nothing here that could not be written.
        if serde_json::to_writer(&mut json, self).is_err() {
            json.clear();
        }
        json
    }

    /// Its JSON as a tree.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// From a tree.
    ///
    /// # Errors
    /// `BadRequest` if it is no object.
    pub fn from_value(value: &serde_json::Value) -> Result<Self, ApiError> {
        Self::from_json(value.to_string().as_bytes())
    }

    /// Its kind.
    ///
    /// # Errors
    /// `BadRequest` where it is not known, naming the nearest.
    pub fn kind_info(&self) -> Result<&'static KindInfo, ApiError> {
        kinds::of_manifest(&self.api_version, &self.kind)
    }

    /// Where it is stored.
    ///
    /// # Errors
    /// As [`Object::kind_info`].
    pub fn key(&self) -> Result<Key, ApiError> {
        let kind = self.kind_info()?;
        let namespace = if kind.namespaced {
            self.metadata.namespace.as_str()
        } else {
            ""
        };
        Ok(Key::new(kind.resource, namespace, &self.metadata.name))
    }

    /// A field read as a type of the caller's; the type's default where the field is absent or null.
    ///
    /// # Errors
    /// `Invalid` naming the path within the field.
    pub fn field<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, ApiError> {
        let Some(raw) = self.fields.get(name) else {
            return Ok(T::default());
        };
        let reader = &mut serde_json::Deserializer::from_str(raw.get());
        let value: Option<T> = serde_path_to_error::deserialize(reader).map_err(|e| {
            let cause = crate::Cause {
                field: format!("{name}.{}", e.path()),
                message: e.inner().to_string(),
            };
            ApiError::invalid(
                format!("{} \"{}\" is invalid", self.kind, self.metadata.name),
                vec![cause],
            )
        })?;
        Ok(value.unwrap_or_default())
    }

    /// A field as a tree; null where it is absent.
    pub fn field_value(&self, name: &str) -> serde_json::Value {
        self.fields
            .get(name)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default()
    }

    /// Sets a field.
    pub fn set_field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        if let Ok(raw) = serde_json::value::to_raw_value(value) {
            self.fields.set(name, raw);
        }
    }

    /// Sets a field and returns the object, for building one in an expression.
    #[must_use]
    pub fn with_field<T: Serialize + ?Sized>(mut self, name: &str, value: &T) -> Self {
        self.set_field(name, value);
        self
    }

    /// All of it as a type that mirrors Kubernetes' JSON, such as those of `k8s-openapi`.
    ///
    /// # Errors
    /// `Invalid` naming the path.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let json = self.to_json();
        let reader = &mut serde_json::Deserializer::from_slice(&json);
        serde_path_to_error::deserialize(reader).map_err(|e| {
            let cause = crate::Cause {
                field: e.path().to_string(),
                message: e.inner().to_string(),
            };
            ApiError::invalid(
                format!("{} \"{}\" is invalid", self.kind, self.metadata.name),
                vec![cause],
            )
        })
    }

    /// About how many bytes it takes in memory.
    pub fn weight(&self) -> usize {
        let fields: usize = self
            .fields
            .iter()
            .map(|(name, raw)| 64 + name.len() + raw.get().len())
            .sum();
        let maps = self.metadata.labels.iter().chain(&self.metadata.annotations);
        size_of::<Self>() + fields + maps.map(|(k, v)| 64 + k.len() + v.len()).sum::<usize>()
    }
}

/// Equal in meaning: fields are compared as JSON, not as text.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.api_version == other.api_version
            && self.kind == other.kind
            && self.metadata == other.metadata
            && self.fields.same(&other.fields, |_| true)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3 + self.fields.len()))?;
        map.serialize_entry("apiVersion", &self.api_version)?;
        map.serialize_entry("kind", &self.kind)?;
        map.serialize_entry("metadata", &self.metadata)?;
        // `status` comes last, as users are used to; the rest in the order of their names.
        let (status, others): (Vec<_>, Vec<_>) = self.fields.iter().partition(|(name, _)| *name == "status");
        others
            .into_iter()
            .chain(status)
            .try_for_each(|(name, raw)| map.serialize_entry(name, raw))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with apiVersion, kind and metadata")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut object = Object::default();
                let mut fields: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "apiVersion" => object.api_version = map.next_value()?,
                        "kind" => object.kind = map.next_value()?,
                        "metadata" => object.metadata = map.next_value::<Option<Meta>>()?.unwrap_or_default(),
                        _ => fields.push((name, map.next_value()?)),
                    }
                }
                object.fields = Fields::gathered(fields);
                Ok(object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"default","labels":null,
        "resourceVersion":"7","managedFields":[{"manager":"x"}]},"status":{"phase":"Running"},"spec":{"nodeName":"n1"}}"#;

    #[test]
    fn reads_and_writes_what_kubernetes_does() {
        let pod = Object::from_json(POD.as_bytes()).unwrap();
        assert_eq!(pod.metadata.resource_version, 7);
        assert_eq!(pod.key().unwrap(), Key::new("pods", "default", "a"));
        let again = Object::from_json(&pod.to_json()).unwrap();
        assert_eq!(pod, again);
        assert!(
            String::from_utf8(pod.to_json())
                .unwrap()
                .ends_with(r#""status":{"phase":"Running"}}"#)
        );
    }

    #[test]
    fn a_wrong_type_names_its_path() {
        let pod =
            Object::from_json(br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"nodeName":5}}"#);
        let error = pod
            .unwrap()
            .field::<k8s_openapi::api::core::v1::PodSpec>("spec")
            .unwrap_err();
        assert_eq!(error.causes[0].field, "spec.nodeName");
    }
}
