//! Changes of members: the two forms as one, and their short text.
use crate::eraftpb::{ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};
use std::{borrow::Cow, collections::BTreeSet};

/// The change of one member.
pub fn new_conf_change_single(node_id: u64, change_type: ConfChangeType) -> ConfChangeSingle {
    ConfChangeSingle {
        change_type: change_type.into(),
        node_id,
    }
}

/// Reads `v1 l2 r3`: make 1 a voter and 2 a learner, remove 3.
///
/// # Errors
/// Names the word that cannot be read.
pub fn parse_conf_change(text: &str) -> Result<Vec<ConfChangeSingle>, String> {
    let word = |word: &str| {
        let unknown = || format!("unknown token {word}");
        let change_type = match word.chars().next() {
            Some('v') => ConfChangeType::AddNode,
            Some('l') => ConfChangeType::AddLearnerNode,
            Some('r') => ConfChangeType::RemoveNode,
            _ => return Err(unknown()),
        };
        let node_id = word[1..].parse().map_err(|_| unknown())?;
        Ok(new_conf_change_single(node_id, change_type))
    };
    text.split_ascii_whitespace().map(word).collect()
}

/// Writes what [`parse_conf_change`] reads.
pub fn stringify_conf_change(changes: &[ConfChangeSingle]) -> String {
    let word = |change: &ConfChangeSingle| {
        let letter = match change.change_type() {
            ConfChangeType::AddNode => 'v',
            ConfChangeType::AddLearnerNode => 'l',
            ConfChangeType::RemoveNode => 'r',
        };
        format!("{letter}{}", change.node_id)
    };
    changes.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Either form of a change.
pub trait ConfChangeI {
    fn into_v2(self) -> ConfChangeV2;
    fn as_v2(&self) -> Cow<'_, ConfChangeV2>;
    /// The older form, if it is one.
    fn as_v1(&self) -> Option<&ConfChange>;
}

impl ConfChangeI for ConfChange {
    fn into_v2(self) -> ConfChangeV2 {
        let change = new_conf_change_single(self.node_id, self.change_type());
        ConfChangeV2 {
            changes: vec![change],
            context: self.context,
            ..ConfChangeV2::default()
        }
    }

    fn as_v2(&self) -> Cow<'_, ConfChangeV2> {
        Cow::Owned(self.clone().into_v2())
    }

    fn as_v1(&self) -> Option<&ConfChange> {
        Some(self)
    }
}

impl ConfChangeI for ConfChangeV2 {
    fn into_v2(self) -> ConfChangeV2 {
        self
    }

    fn as_v2(&self) -> Cow<'_, ConfChangeV2> {
        Cow::Borrowed(self)
    }

    fn as_v1(&self) -> Option<&ConfChange> {
        None
    }
}

impl ConfChangeV2 {
    /// Whether it needs joint consensus (more than one change, or asked for), and if so, whether the joint
    /// configuration is left by itself.
    pub fn enter_joint(&self) -> Option<bool> {
        match self.transition() {
            ConfChangeTransition::Explicit => Some(false),
            ConfChangeTransition::Implicit => Some(true),
            ConfChangeTransition::Auto => (self.changes.len() > 1).then_some(true),
        }
    }

    /// Whether it leaves a joint configuration: it says nothing else.
    pub fn leave_joint(&self) -> bool {
        self.transition() == ConfChangeTransition::Auto && self.changes.is_empty()
    }
}

/// Whether both have the same members in the same roles, in whatever order.
#[must_use]
pub fn conf_state_eq(a: &ConfState, b: &ConfState) -> bool {
    let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<_>>();
    let sets = |state: &ConfState| {
        [
            &state.voters,
            &state.learners,
            &state.voters_outgoing,
            &state.learners_next,
        ]
        .map(|ids| set(ids))
    };
    a.auto_leave == b.auto_leave && sets(a) == sets(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn short_text_there_and_back() {
        let changes = parse_conf_change(" v1  l2 r3 ").unwrap();
        assert_eq!(stringify_conf_change(&changes), "v1 l2 r3");
        assert!(parse_conf_change("x1").is_err());
        assert!(parse_conf_change("v").is_err());
    }

    #[test]
    fn joint_where_more_than_one_changes() {
        let mut change = ConfChangeV2 {
            changes: parse_conf_change("v1").unwrap(),
            ..ConfChangeV2::default()
        };
        assert_eq!(change.enter_joint(), None);
        change.changes = parse_conf_change("v1 r2").unwrap();
        assert_eq!(change.enter_joint(), Some(true));
        assert!(ConfChangeV2::default().leave_joint());
    }

    #[test]
    fn the_wire_format_is_raft_s() {
        // entry_type 0 (left out), term 2, index 3, data "x"
        let wire = [0x10, 2, 0x18, 3, 0x22, 1, b'x'];
        let entry = crate::eraftpb::Entry::decode(&wire[..]).unwrap();
        assert_eq!((entry.term, entry.index, entry.get_data()), (2, 3, &b"x"[..]));
        assert_eq!(entry.encode_to_vec(), wire);
    }
}
