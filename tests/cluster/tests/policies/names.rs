//! Several schedulers beside each other: each name is a slot of its own, whose policy places the pods that name it.
use crate::{control_plane, rules};
use sampan_api::{
    Key, Object, Operation, Write, kinds,
    plugin::{Mode, PluginSpec, RESOURCE},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_placed_by_the_scheduler_that_they_name() {
    let plane = control_plane().await;
    rules::nodes(&plane, &[("n1", "a"), ("n2", "a"), ("n3", "a")], 40).await;
    rules::until_active(&plane).await;
    let tight = PluginSpec {
        slot: "tight".to_owned(),
        mode: Mode::Active,
        ..plane.plugin("binpack").0
    };
    let kind = kinds::of_resource(RESOURCE).unwrap();
    let object = Object::new(kind, "", "tight").with_field("spec", &tight);
    for (prefix, name) in [("packed", "tight"), ("usual", "default-scheduler"), ("lost", "nobody")] {
        for n in 0..6 {
            rules::pod(
                &plane,
                &format!("{prefix}{n}"),
                json!({}),
                json!({"schedulerName": name}),
            )
            .await;
        }
    }
    plane.until_bound("usual").await;
    plane
        .commit(vec![Write::new(
            Key::new(RESOURCE, "", "tight"),
            Operation::Create(object),
        )])
        .await;
    plane.until_bound("packed").await;
    let (packed, usual) = (plane.bindings("packed"), plane.bindings("usual"));
    assert!(packed.iter().all(|(_, node, _)| *node == packed[0].1), "{packed:?}");
    assert!(packed.iter().all(|(.., policy)| *policy == tight.digest), "{packed:?}");
    let scheduler = plane.plugin("scheduler").0.digest;
    assert!(usual.iter().all(|(.., policy)| *policy == scheduler), "{usual:?}");
    // Nobody goes by that name.
    assert!(plane.bindings("lost").iter().all(|(_, node, _)| node.is_empty()));
    plane.server.shutdown().await;
}
