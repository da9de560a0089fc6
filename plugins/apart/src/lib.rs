//! The policy `apart`, an example: pods go where most memory is free, and never two of one owner to a node.
//!
//! `apart.c` and `apart.py` beside this folder are the same policy once more, against the bare contract; a test holds the
//! three against each other.
use sampan_sdk::scheduler::{Description, Node, Pod, Rule, Scheduler, description, filters};

/// Apart, and where most memory is free.
#[derive(Default)]
pub struct Apart;

impl Scheduler for Apart {
    fn describe() -> Description {
        let summary = "Most free memory first, one pod of an owner to a node.";
        description("apart", env!("CARGO_PKG_VERSION"), summary)
    }

    fn filter(&self, pod: &Pod<'_>, node: &Node<'_>) -> Result<(), Rule> {
        filters::kubernetes(pod, node)?;
        filters::none_there(node, Rule::AntiAffinity, |there| there.shares_owner_with(pod))
    }

    fn score(&self, _pod: &Pod<'_>, node: &Node<'_>) -> i64 {
        i64::try_from(node.free().memory).unwrap_or(i64::MAX)
    }
}

sampan_sdk::export_scheduler!(Apart);

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_sdk::testing::{cluster, node, pod};

    #[test]
    fn most_free_memory_comes_first() {
        let mut cluster = cluster::<Apart>([node("small").memory(4 << 30), node("large").memory(6 << 30)]);
        let pod = pod().memory(1 << 30);
        let places: Vec<_> = (0..4).map(|_| cluster.place(&pod).unwrap()).collect();
        // 6, 5, then 4 against 4: the one with fewer pods.
        assert_eq!(places, ["large", "large", "small", "large"]);
    }

    #[test]
    fn pods_of_one_owner_are_kept_apart() {
        let mut cluster = cluster::<Apart>([node("a"), node("b")]);
        let web = pod().owner("web");
        assert!(cluster.place(&web).is_ok());
        assert!(cluster.place(&web).is_ok());
        assert_eq!((cluster.pods_on("a"), cluster.pods_on("b")), (1, 1));
        let why = cluster.place(&web).unwrap_err();
        assert_eq!(why, "0/2 nodes will do: 2 anti-affinity");
        assert!(
            cluster.place(&pod().owner("db")).is_ok(),
            "another owner's pod goes anywhere"
        );
        cluster.end(1);
        assert!(cluster.place(&web).is_ok(), "there is room again");
    }
}
