//! From the words of the second edition to those of the first.
use super::super::{Label, Resources, v0_1::types as former, v0_2::types as wire};

pub fn usage(node: u32, asked: Resources) -> former::Usage {
    former::Usage {
        node,
        resources: amounts(asked, 1),
    }
}

pub fn amounts(resources: Resources, pods: u32) -> former::Resources {
    former::Resources {
        milli_cpu: resources.milli_cpu,
        memory: resources.memory,
        ephemeral_storage: resources.ephemeral_storage,
        pods,
    }
}

pub fn label(label: &Label) -> former::Label {
    former::Label {
        key: label.key,
        value: label.value,
    }
}

pub fn taint(taint: &wire::Taint) -> former::Taint {
    former::Taint {
        key: taint.key,
        value: taint.value,
        effect: effect(taint.effect),
    }
}

pub fn effect(effect: wire::Effect) -> former::Effect {
    match effect {
        wire::Effect::NoSchedule => former::Effect::NoSchedule,
        wire::Effect::PreferNoSchedule => former::Effect::PreferNoSchedule,
        wire::Effect::NoExecute => former::Effect::NoExecute,
    }
}
