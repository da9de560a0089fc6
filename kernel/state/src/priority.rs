//! PriorityClasses as the state machine reads them, and from which level of features on it gives pods what they say.
use crate::index::Index;
use sampan_api::{Key, Object, validate::scheduling::SYSTEM_CLASSES};

/// The level of features from which on the committer gives new pods their priority and says that gates hold them, and counts
/// extended resources: builds below it would take what others refuse or complete.
pub const LEVEL: u32 = 4;

/// The resource of the classes.
pub const CLASSES: &str = "priorityclasses.scheduling.k8s.io";

/// What a pod may do to others where nobody says otherwise.
pub const PREEMPTS: &str = "PreemptLowerPriority";

/// What a class says of pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    pub value: i32,
    pub name: String,
    pub preemption: String,
}

impl Class {
    /// A class, and whether it is that of pods that name none.
    pub fn of(object: &Object) -> (Self, bool) {
        let value = object.field_value("value").as_i64().unwrap_or_default();
        let preemption = object.field_value("preemptionPolicy");
        let class = Class {
            value: i32::try_from(value).unwrap_or_default(),
            name: object.metadata.name.clone(),
            preemption: preemption.as_str().unwrap_or(PREEMPTS).to_owned(),
        };
        (class, object.field_value("globalDefault") == true)
    }

    /// One that is there whatever objects say.
    pub fn of_system(name: &str) -> Option<Self> {
        let (name, value, _) = SYSTEM_CLASSES.iter().find(|(known, ..)| *known == name)?;
        Some(Class {
            value: *value,
            name: (*name).to_owned(),
            preemption: PREEMPTS.to_owned(),
        })
    }
}

/// The key of a class.
pub fn key(name: &str) -> Key {
    Key::new(CLASSES, "", name)
}

/// Notes in the index whether a class is a default, or no longer.
pub fn change(index: &mut Index, before: Option<&Object>, after: Option<&Object>) {
    for (object, there) in [(before, false), (after, true)] {
        match object.map(Class::of) {
            Some((class, true)) if there => drop(index.default_classes.insert(class)),
            Some((class, true)) => drop(index.default_classes.remove(&class)),
            _ => {}
        }
    }
}
