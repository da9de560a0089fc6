//! Topology spread constraints, required and preferred.
use super::Case;
use scheduler::types::{Effect, Inclusion, Nomination, PodClass, Rule, Taint, Unsatisfiable};

const HOST: &str = crate::random::HOST;
const ZONE: &str = crate::random::ZONE;

fn spread(case: &mut Case, key: &str, change: impl Fn(&mut scheduler::types::SpreadConstraint)) -> PodClass {
    let mut web = case.class("web");
    let mut constraint = case.constraint(key, "web", Unsatisfiable::DoNotSchedule);
    change(&mut constraint);
    web.spread = vec![constraint];
    web
}

#[test]
fn zones_fill_evenly() {
    let mut case = Case::new(4);
    case.zones(&["a", "a", "a", "b"]);
    let web = spread(&mut case, ZONE, |_| {});
    let web = case.add(&web);
    assert_eq!(case.goes(web, 6), [1, 4, 2, 4, 3, 4]);
}

#[test]
fn a_greater_skew_leaves_more_room() {
    let mut case = Case::new(2);
    case.zones(&["a", "b"]);
    case.node(2).pods = 0;
    let web = spread(&mut case, ZONE, |constraint| constraint.max_skew = 3);
    let web = case.add(&web);
    assert_eq!(case.goes(web, 4), [1, 1, 1, 0]);
    case.there(web, &[1, 1, 1]);
    assert_eq!(case.refused(web), [(Rule::Pods, 1), (Rule::Spread, 1)]);
}

#[test]
fn a_node_without_the_label_will_not_do_and_is_not_counted() {
    let mut case = Case::new(3);
    case.zones(&["a", "b"]);
    let web = spread(&mut case, ZONE, |_| {});
    let web = case.add(&web);
    case.there(web, &[3, 3, 3]);
    assert_eq!(case.goes(web, 2), [1, 2]);
    case.node(1).pods = 0;
    case.node(2).pods = 0;
    assert_eq!(case.refused(web), [(Rule::Pods, 2), (Rule::SpreadLabel, 1)]);
}

#[test]
fn too_few_domains_make_the_lowest_count_none() {
    let mut case = Case::new(2);
    case.zones(&["a", "b"]);
    let web = spread(&mut case, ZONE, |constraint| constraint.min_domains = 3);
    let web = case.add(&web);
    assert_eq!(case.goes(web, 3), [1, 2, 0]);
}

#[test]
fn hosts_are_domains_too() {
    let mut case = Case::new(3);
    let web = spread(&mut case, HOST, |_| {});
    let web = case.add(&web);
    case.there(web, &[1, 2]);
    assert_eq!(case.goes(web, 4), [3, 1, 2, 3]);
}

#[test]
fn a_pod_that_is_not_meant_counts_for_nothing_itself() {
    let mut case = Case::new(2);
    case.zones(&["a", "b"]);
    let db = case.class("db");
    let db = case.add(&db);
    case.there(db, &[1]);
    let mut web = case.class("web");
    web.spread = vec![case.constraint(ZONE, "db", Unsatisfiable::DoNotSchedule)];
    let web = case.add(&web);
    // One db in zone a, none in b: a skew of 1, whatever comes.
    assert_eq!(case.goes(web, 4), [2, 1, 2, 1]);
}

#[test]
fn pods_that_are_ending_or_of_another_namespace_are_not_counted() {
    let mut case = Case::new(2);
    case.zones(&["a", "b"]);
    let web = spread(&mut case, ZONE, |_| {});
    let web = case.add(&web);
    let mut foreign = case.class("web");
    foreign.namespace = case.symbol("green");
    let foreign = case.add(&foreign);
    case.there(foreign, &[2, 2, 2]);
    for ending in case.there(web, &[2, 2]) {
        case.world.pods.get_mut(&ending).unwrap().ending = true;
    }
    assert_eq!(case.goes(web, 2), [1, 2]);
}

#[test]
fn nodes_that_affinity_rules_out_count_only_where_that_is_ignored() {
    let mut case = Case::new(3);
    case.zones(&["a", "b", "c"]);
    case.label(1, "disk", "ssd");
    case.label(2, "disk", "ssd");
    for (policy, nodes) in [(Inclusion::Honor, [1, 2, 1]), (Inclusion::Ignore, [1, 2, 0])] {
        let mut web = spread(&mut case, ZONE, |constraint| constraint.node_affinity_policy = policy);
        web.node_selector = vec![case.world.label("disk", "ssd")];
        let web = case.add(&web);
        assert_eq!(
            case.goes(web, 3),
            nodes,
            "{policy:?}: whether zone c, where none can be, is the lowest"
        );
    }
}

#[test]
fn nodes_that_taints_rule_out_count_unless_that_is_honoured() {
    let mut case = Case::new(3);
    case.zones(&["a", "b", "c"]);
    let key = case.symbol("dedicated");
    case.node(3).taints = vec![Taint {
        key,
        value: 0,
        effect: Effect::NoSchedule,
    }];
    for (policy, nodes) in [(Inclusion::Ignore, [1, 2, 0]), (Inclusion::Honor, [1, 2, 1])] {
        let web = spread(&mut case, ZONE, |constraint| constraint.node_taints_policy = policy);
        let web = case.add(&web);
        assert_eq!(case.goes(web, 3), nodes, "{policy:?}");
    }
}

#[test]
fn match_label_keys_count_only_the_own_version() {
    let mut case = Case::new(2);
    case.zones(&["a", "b"]);
    let mut old = case.class("web");
    old.labels.push(case.world.label("pod-template-hash", "1"));
    let old = case.add(&old);
    case.there(old, &[2, 2, 2]);
    let key = case.symbol("pod-template-hash");
    let mut new = spread(&mut case, ZONE, |constraint| constraint.match_label_keys = vec![key]);
    new.labels.push(case.world.label("pod-template-hash", "2"));
    let new = case.add(&new);
    assert_eq!(case.goes(new, 4), [1, 2, 1, 2]);
}

#[test]
fn a_pod_that_is_awaited_raises_the_lowest_count() {
    let mut case = Case::new(2);
    case.zones(&["a", "b"]);
    let web = spread(&mut case, ZONE, |_| {});
    let web = case.add(&web);
    case.there(web, &[2]);
    let (pod, node, class) = (50, 1, web);
    case.world.nominations.insert(pod, Nomination { pod, node, class });
    // With it there is one in each zone, so one more may come to its zone.
    assert_eq!(case.goes(web, 1), [1]);
}

#[test]
fn a_zone_that_gets_a_second_node_is_one_zone() {
    let mut case = Case::new(3);
    case.zones(&["a", "b", "b"]);
    let third = case.world.nodes.remove(&3).unwrap();
    let web = spread(&mut case, ZONE, |_| {});
    let web = case.add(&web);
    let mut engine = case.engine("{}");
    let place = |engine: &mut scheduler::Engine, id| engine.place(&[crate::model::pod(id, web)], &[]).nodes[0];
    assert_eq!([1, 2].map(|id| place(&mut engine, id)), [1, 2]);
    let mut changes = crate::model::nothing();
    changes.nodes.push(third);
    engine.sync(1, 2, changes).unwrap();
    assert_eq!(
        [3, 4, 5].map(|id| place(&mut engine, id)),
        [3, 1, 2],
        "one in zone b already, two with the next"
    );
}

#[test]
fn preferred_constraints_lose_to_nothing_else() {
    let mut case = Case::new(3);
    case.zones(&["a", "b", "b"]);
    let mut web = case.class("web");
    web.spread = vec![case.constraint(ZONE, "web", Unsatisfiable::ScheduleAnyway)];
    let web = case.add(&web);
    case.there(web, &[1, 1]);
    // Raw: round(2·ln 4) = 3 and 0; 100·(3 + 0 - 3)/3 = 0 and 100·(3 + 0 - 0)/3 = 100.
    assert_eq!([case.scores(web, 1)[6], case.scores(web, 2)[6]], [0, 100]);
    assert_eq!(case.goes(web, 2), [2, 3]);
}

#[test]
fn a_node_without_the_label_of_a_preference_gets_no_score() {
    let mut case = Case::new(2);
    case.zones(&["a"]);
    let mut web = case.class("web");
    web.spread = vec![case.constraint(ZONE, "web", Unsatisfiable::ScheduleAnyway)];
    let web = case.add(&web);
    assert_eq!([case.scores(web, 1)[6], case.scores(web, 2)[6]], [100, 0]);
}

#[test]
fn the_clusters_defaults_hold_for_pods_of_an_owner() {
    let mut case = Case::new(4);
    case.zones(&["a", "a", "b"]);
    let mut web = case.class("web");
    let plain = case.add(&web);
    assert_eq!(case.scores(plain, 1)[6], 0, "a pod of nobody is not spread");
    web.id = 2;
    web.owner = case.symbol("uid");
    let web = case.add(&web);
    case.there(web, &[1]);
    let spread = |node| case.scores(web, node)[6];
    // Hosts: ln 6 = 1.79 for the one on node 1, and 2 for the skew; zones (a, b, none): ln 5 = 1.61 in zone a, and 4.
    // Raw: 9, 8, 6, and 2 for node 4, which has no zone; 100·(9 + 2 - raw)/9.
    assert_eq!([spread(1), spread(2), spread(3), spread(4)], [22, 33, 55, 100]);
}

#[test]
fn nodes_without_a_zone_are_one_more_for_the_clusters_defaults() {
    let mut case = Case::new(3);
    case.zones(&["a", "b"]);
    let mut web = case.class("web");
    web.owner = case.symbol("uid");
    let web = case.add(&web);
    case.there(web, &[1; 10]);
    // Three hosts; zones a, b and none: ten alike on node 1 weigh 10·ln 5 = 16.1 twice, so 38 with the skews; node 2: 6,
    // node 3: 2. 100·(38 + 2 - 6)/38.
    assert_eq!(case.scores(web, 2)[6], 89);
}

#[test]
fn the_clusters_defaults_count_what_services_select() {
    let mut case = Case::new(2);
    let mut web = case.class("web");
    web.siblings = Some(vec![case.requirement("app", scheduler::types::Operator::Exists, &[])]);
    let web = case.add(&web);
    let other = case.class("other");
    let other = case.add(&other);
    case.there(other, &[1]);
    assert!(case.scores(web, 1)[6] < case.scores(web, 2)[6]);
}
