//! Rules between pods: affinity and anti-affinity.
use super::Case;
use scheduler::types::{Label, Operator, Rule};

const HOST: &str = crate::random::HOST;
const ZONE: &str = crate::random::ZONE;

#[test]
fn affinity_over_a_zone() {
    let mut case = Case::new(4);
    case.zones(&["a", "a", "b"]);
    let db = case.class("db");
    let db = case.add(&db);
    case.there(db, &[1]);
    let mut web = case.class("web");
    web.affinity = vec![case.term(ZONE, "db")];
    let web = case.add(&web);
    assert_eq!(case.goes(web, 3), [2, 1, 2], "in the zone, and there where fewest are");
}

#[test]
fn nobody_to_be_near_to() {
    let mut case = Case::new(2);
    let mut web = case.class("web");
    web.affinity = vec![case.term(HOST, "db")];
    let web = case.add(&web);
    assert_eq!(case.refused(web), [(Rule::Affinity, 2)]);
}

#[test]
fn the_first_of_its_kind_goes_anywhere_and_the_others_to_it() {
    let mut case = Case::new(3);
    let mut web = case.class("web");
    web.affinity = vec![case.term(HOST, "web")];
    let web = case.add(&web);
    assert_eq!(case.goes(web, 3), [1, 1, 1]);
}

#[test]
fn the_first_of_its_kind_needs_the_label() {
    let mut case = Case::new(2);
    case.zones(&["a"]);
    let mut web = case.class("web");
    web.affinity = vec![case.term(ZONE, "web")];
    let web = case.add(&web);
    case.node(1).unschedulable = true;
    assert_eq!(case.refused(web), [(Rule::Unschedulable, 1), (Rule::Affinity, 1)]);
}

#[test]
fn one_pod_must_be_meant_by_all_terms() {
    let mut case = Case::new(2);
    case.zones(&["a", "b"]);
    let mut both = case.class("db");
    both.labels.push(case.world.label("tier", "back"));
    let both = case.add(&both);
    let half = case.class("db");
    let half = case.add(&half);
    case.there(half, &[1]);
    case.there(both, &[2]);
    let mut web = case.class("web");
    let mut other = case.term(HOST, "db");
    other.selector = Some(vec![case.requirement("tier", Operator::Exists, &[])]);
    web.affinity = vec![case.term(ZONE, "db"), other];
    let web = case.add(&web);
    assert_eq!(case.goes(web, 1), [2]);
}

#[test]
fn anti_affinity_over_hosts() {
    let mut case = Case::new(3);
    let mut web = case.class("web");
    web.anti_affinity = vec![case.term(HOST, "web")];
    let web = case.add(&web);
    assert_eq!(case.goes(web, 4), [1, 2, 3, 0]);
    case.there(web, &[1, 2, 3]);
    assert_eq!(case.refused(web), [(Rule::AntiAffinity, 3)]);
}

#[test]
fn a_node_without_the_label_is_near_to_nobody() {
    let mut case = Case::new(3);
    case.zones(&["a", "a"]);
    let mut web = case.class("web");
    web.anti_affinity = vec![case.term(ZONE, "web")];
    let web = case.add(&web);
    case.there(web, &[1]);
    assert_eq!(case.goes(web, 2), [3, 3]);
}

#[test]
fn those_who_are_there_keep_others_away() {
    let mut case = Case::new(3);
    case.zones(&["a", "a", "b"]);
    let mut alone = case.class("alone");
    alone.anti_affinity = vec![case.term(ZONE, "web")];
    let alone = case.add(&alone);
    case.there(alone, &[1]);
    let web = case.class("web");
    let web = case.add(&web);
    assert_eq!(case.goes(web, 2), [3, 3]);
    case.node(3).unschedulable = true;
    assert_eq!(
        case.refused(web),
        [(Rule::Unschedulable, 1), (Rule::ExistingAntiAffinity, 2)]
    );
}

#[test]
fn pods_that_are_ending_still_keep_others_away() {
    let mut case = Case::new(2);
    let mut web = case.class("web");
    web.anti_affinity = vec![case.term(HOST, "web")];
    let web = case.add(&web);
    let there = case.there(web, &[1]);
    case.world.pods.get_mut(&there[0]).unwrap().ending = true;
    assert_eq!(case.goes(web, 1), [2]);
}

#[test]
fn terms_mean_their_own_namespace_unless_they_say() {
    let mut case = Case::new(3);
    let mut db = case.class("db");
    db.namespace = case.symbol("green");
    let db = case.add(&db);
    case.there(db, &[2]);
    let (red, green) = (case.symbol("red"), case.symbol("green"));
    let labels = vec![case.world.label("team", "a")];
    case.world.namespaces.insert(green, labels);
    case.world.namespaces.insert(red, Vec::new());
    let team = case.requirement("team", Operator::IsIn, &["a"]);
    let ways = [
        (vec![], None, 0),
        (vec![green], None, 2),
        (vec![red], None, 0),
        (vec![], Some(vec![team.clone()]), 2),
        (vec![], Some(vec![]), 2),
        (vec![red], Some(vec![team]), 2),
    ];
    for (namespaces, chosen, node) in ways {
        let mut web = case.class("web");
        let mut term = case.term(HOST, "db");
        (term.namespaces, term.namespace_selector) = (namespaces.clone(), chosen.clone());
        web.affinity = vec![term];
        let web = case.add(&web);
        assert_eq!(case.goes(web, 1), [node], "{namespaces:?} {chosen:?}");
    }
}

#[test]
fn a_term_without_a_selector_means_nobody() {
    let mut case = Case::new(2);
    let there = case.class("web");
    let there = case.add(&there);
    case.there(there, &[1]);
    let mut web = case.class("web");
    let mut term = case.term(HOST, "web");
    term.selector = None;
    web.anti_affinity = vec![term];
    let web = case.add(&web);
    assert_eq!(case.goes(web, 2), [2, 1]);
}

#[test]
fn match_label_keys_take_the_own_value() {
    let mut case = Case::new(2);
    let version = |case: &mut Case, value: &str| case.world.label("version", value);
    let mut old = case.class("web");
    old.labels.push(version(&mut case, "1"));
    let old = case.add(&old);
    case.there(old, &[1]);
    let key = case.symbol("version");
    let mut new = case.class("web");
    new.labels.push(version(&mut case, "2"));
    let mut term = case.term(HOST, "web");
    term.match_label_keys = vec![key, 9999];
    new.anti_affinity = vec![term.clone()];
    // The old one is not meant, so it does not matter that node 1 has it; full nodes come last.
    case.node(2).unschedulable = true;
    let id = case.add(&new);
    assert_eq!(case.goes(id, 2), [1, 0]);
    (term.match_label_keys, term.mismatch_label_keys) = (Vec::new(), vec![key]);
    new.id = 3;
    new.anti_affinity = vec![term];
    let id = case.add(&new);
    assert_eq!(case.refused(id), [(Rule::Unschedulable, 1), (Rule::AntiAffinity, 1)]);
}

#[test]
fn preferred_terms_pull_and_push() {
    let mut case = Case::new(3);
    let db = case.class("db");
    let db = case.add(&db);
    case.there(db, &[2]);
    let preferred = |case: &mut Case, weight| {
        let term = case.term(HOST, "db");
        vec![scheduler::types::PreferredPod { weight, term }]
    };
    let mut near = case.class("near");
    near.preferred_affinity = preferred(&mut case, 10);
    let near = case.add(&near);
    assert_eq!(case.goes(near, 1), [2]);
    assert_eq!([case.scores(near, 1)[5], case.scores(near, 2)[5]], [0, 100]);
    let mut far = case.class("far");
    far.preferred_anti_affinity = preferred(&mut case, 10);
    let far = case.add(&far);
    assert_eq!([case.scores(far, 1)[5], case.scores(far, 2)[5]], [100, 0]);
}

#[test]
fn what_those_who_are_there_want_counts_too() {
    let mut case = Case::new(3);
    let mut fond = case.class("fond");
    fond.affinity = vec![case.term(HOST, "web"), case.term(HOST, "fond")];
    let term = case.term(HOST, "web");
    fond.preferred_anti_affinity = vec![scheduler::types::PreferredPod { weight: 3, term }];
    let fond = case.add(&fond);
    case.there(fond, &[1]);
    let web = case.class("web");
    let web = case.add(&web);
    // The required term counts for 1, the preferred one for -3.
    assert_eq!([case.scores(web, 1)[5], case.scores(web, 2)[5]], [0, 100]);
}

#[test]
fn labels_of_classes_that_nobody_asks_for_make_no_difference() {
    let mut case = Case::new(3);
    let mut nodes = Vec::new();
    let mut engine = case.engine("{}");
    let mut changes = crate::model::nothing();
    for index in 0..6 {
        let mut class = case.class("job");
        let value = case.symbol(&index.to_string());
        let key = case.symbol("batch.kubernetes.io/job-completion-index");
        class.labels.push(Label { key, value });
        case.add(&class);
        changes.classes.push(class);
    }
    engine.sync(1, 2, changes).unwrap();
    for id in 1..=6 {
        nodes.extend(engine.place(&[crate::model::pod(id, id)], &[]).nodes);
    }
    assert_eq!(nodes, [1, 2, 3, 1, 2, 3]);
}
