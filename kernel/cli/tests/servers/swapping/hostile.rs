//! Network plugins that trap, loop, stumble or want what they must not: the last good datapath stands.
use super::*;

#[test]
fn hostile_network_plugins_leave_the_last_good_datapath() {
    play_under_load(async |group, _, load| {
        let file = component(group, sampan_builtin::HOSTILE, "hostile-network");
        for how in ["trap", "outside", "loop"] {
            let config = format!(r#"--plugin-config {{"how":"{how}"}}"#);
            let begun = Instant::now();
            group.ok(
                0,
                &format!("plugin load {file} --name {how} --slot routes {config} --activate"),
            );
            until(group, "each node has given it up", || complaints(group, how).1 == 3).await;
            println!("{how}: given up by all nodes after {:?}", begun.elapsed());
            assert_eq!(complaints(group, how).0, 9, "three tries on each");
            let list = group.ok(0, "plugin list");
            let line = list.lines().find(|line| line.starts_with(&format!("{how} "))).unwrap();
            let is_named = |host: &usize| line.contains(&format!("n{host}"));
            assert!(NODES.iter().all(is_named) && line.ends_with(" ago)"), "{list}");
            load.flow.goes_on(how);
            for host in NODES {
                assert_eq!(peers(group, host).len(), 2, "{how}");
            }
            group.ok(0, "plugin activate routes");
            group.ok(0, &format!("plugin remove {how}"));
        }
        load.end();
    });
}

#[test]
fn a_network_plugin_that_stumbles_is_asked_again_at_once() {
    play_under_load(async |group, _, load| {
        let file = component(group, sampan_builtin::HOSTILE, "hostile-network");
        let config = r#"--plugin-config {"how":"stumble","after":3}"#;
        group.ok(
            0,
            &format!("plugin load {file} --name stumble --slot routes {config} --activate"),
        );
        until(group, "it decides", || group.ok(0, "plugin list").contains("stumble")).await;
        // The fourth question of its life: a fresh one is asked the first three again, and one of them is answered otherwise.
        let begun = Instant::now();
        group.ok(0, &format!("label node n{HUB} hidden=yes"));
        for host in NODES {
            until(group, "what changed is so", || peers(group, host).len() == 1).await;
        }
        println!("asked again, and done, after {:?}", begun.elapsed());
        assert!(begun.elapsed().as_secs() < 15, "{:?}", begun.elapsed());
        assert!(complaints(group, "stumble").0 > 0, "it has stumbled");
        group.ok(0, "plugin activate routes");
        until(group, "all are peers again", || peers(group, NODES[0]).len() == 2).await;
        load.flow.end();
    });
}
