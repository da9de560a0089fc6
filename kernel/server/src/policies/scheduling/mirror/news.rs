//! What changed, by whom it could help: pods that found no place wait for news of the right kind.

/// What changed that a pod which found no place may have waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct News(pub u8);

impl News {
    pub const NONE: News = News(0);
    /// A node is new: that may help against everything.
    pub const NODE: News = News(1);
    /// Labels, taints, readiness or a cordon of a node.
    pub const SHAPE: News = News(2);
    /// There is more room somewhere.
    pub const ROOM: News = News(4);
    /// A pod got a node, or other labels.
    pub const COMPANY: News = News(8);
    /// A pod left, or begins to.
    pub const DEPARTURE: News = News(16);
    /// Another policy decides.
    pub const POLICY: News = News(32);

    pub fn and(self, other: News) -> News {
        News(self.0 | other.0)
    }

    pub fn meets(self, other: News) -> bool {
        self.0 & other.0 != 0
    }
}
