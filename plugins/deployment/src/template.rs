//! Templates: which ReplicaSet has the deployment's, and the short hash that names it.
use sampan_sdk::{Value, controller::Object};

/// Tells the pods of one template from those of another.
pub const HASH_LABEL: &str = "pod-template-hash";

/// Letters and digits that spell no words; Kubernetes' alphabet.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The ReplicaSet that has the deployment's template; of several the oldest.
pub fn current<'a>(deployment: &Object, sets: &'a [Object]) -> Option<&'a Object> {
    let wanted = without_hash(&deployment.spec()["template"]);
    let same = sets
        .iter()
        .filter(|set| without_hash(&set.spec()["template"]) == wanted);
    same.min_by_key(|set| (set.created_ms(), set.key.name.clone()))
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    template
}

/// Ten letters for a template. FNV-1a over its JSON, whose fields are in the order of their names.
pub fn hash(template: &Value, collisions: i64) -> String {
    let mut text = template.to_string();
    if collisions > 0 {
        text.push_str(&collisions.to_string());
    }
    let mut hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut letter = || {
        let letter = ALPHABET[(hash % 27) as usize];
        hash /= 27;
        char::from(letter)
    };
    (0..10).map(|_| letter()).collect()
}
