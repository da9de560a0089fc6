//! Changes in calls of a bounded size, as the kernel sends them.
use crate::scheduler::{no_changes, types::Changes};

/// Changes of a call at the most.
const MOST_CHANGES: usize = 16_384;

/// The same changes, in their order, in as many calls as it takes.
pub fn pieces(all: Changes) -> Vec<Changes> {
    let (mut done, mut piece, mut room) = (Vec::new(), no_changes(), MOST_CHANGES);
    macro_rules! deal_out {
        ($($kind:ident)*) => {$(
            for change in all.$kind {
                if room == 0 {
                    done.push(std::mem::replace(&mut piece, no_changes()));
                    room = MOST_CHANGES;
                }
                room -= 1;
                piece.$kind.push(change);
            }
        )*};
    }
    deal_out!(symbols namespaces namespaces_gone budgets budgets_gone classes nodes_gone nodes);
    deal_out!(released bound ending nominated nominated_no_more classes_gone);
    done.push(piece);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_and_no_call_is_too_large() {
        let most = MOST_CHANGES as u32;
        let all = Changes {
            released: (0..most + 5).collect(),
            ending: (0..most).collect(),
            ..no_changes()
        };
        let pieces = pieces(all);
        let sizes: Vec<_> = pieces
            .iter()
            .map(|piece| (piece.released.len(), piece.ending.len()))
            .collect();
        assert_eq!(sizes, [(MOST_CHANGES, 0), (5, MOST_CHANGES - 5), (0, 5)]);
        assert_eq!(pieces[1].ending[0], 0, "in their order");
        assert_eq!(super::pieces(no_changes()).len(), 1, "there is a call even for nothing");
    }
}
