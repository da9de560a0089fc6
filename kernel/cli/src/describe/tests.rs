//! The pages of `describe`, against what kubectl prints for the same objects.
use super::*;
use serde_json::{Value, json};

fn page(value: Value, related: &Related) -> String {
    let now = Moment::parse("2026-03-01T12:00:00Z").unwrap();
    describe(&Doc::new(value).unwrap(), related, now)
}

fn template_spec() -> Value {
    json!({"containers": [{"name": "web", "image": "nginx:1", "ports": [{"containerPort": 80}],
        "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "10m"}},
        "env": [{"name": "MODE", "value": "fast"}, {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
        "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": true}]}],
        "volumes": [{"name": "data", "emptyDir": {}}]})
}

#[test]
fn a_pod() {
    let mut spec = template_spec();
    spec["nodeName"] = "n1".into();
    spec["tolerations"] = json!([{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec,
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"app": "web", "tier": "a"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "controller": true}]},
        "status": {"phase": "Running", "hostIP": "10.0.0.1", "podIP": "10.42.0.7", "podIPs": [{"ip": "10.42.0.7"}],
            "startTime": "2026-03-01T11:58:00Z", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "web", "ready": true, "restartCount": 1, "containerID": "sampan://1", "imageID": "sha256:ab",
                "state": {"running": {"startedAt": "2026-03-01T11:59:00Z"}},
                "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": "2026-03-01T11:58:00Z", "finishedAt": "2026-03-01T11:58:30Z"}}}]}});
    let event = json!({"apiVersion": "v1", "kind": "Event", "type": "Normal", "reason": "Scheduled", "message": "bound to n1", "count": 3,
        "firstTimestamp": "2026-03-01T11:58:00Z", "lastTimestamp": "2026-03-01T11:59:55Z", "source": {"component": "scheduler"}});
    let related = Related {
        events: Some(vec![Doc::new(event).unwrap()]),
        ..Related::default()
    };
    assert_eq!(page(pod, &related), include_str!("../../tests/fixtures/pod.txt"));
}

#[test]
fn a_deployment() {
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "creationTimestamp": "2026-03-01T11:00:00Z",
            "annotations": {"deployment.kubernetes.io/revision": "2"}},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": template_spec()}},
        "status": {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 2, "unavailableReplicas": 1,
            "conditions": [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}]}});
    let set = |name: &str, revision: &str, replicas: i64| {
        let value = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": {"replicas": replicas}, "status": {"replicas": replicas},
            "metadata": {"name": name, "annotations": {"deployment.kubernetes.io/revision": revision}}});
        Doc::new(value).unwrap()
    };
    let related = Related {
        sets: vec![set("web-1", "1", 0), set("web-2", "2", 3)],
        events: Some(vec![]),
        ..Related::default()
    };
    assert_eq!(
        page(deployment, &related),
        include_str!("../../tests/fixtures/deployment.txt")
    );
}

#[test]
fn a_node_sums_up_its_pods() {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "creationTimestamp": "2026-03-01T11:00:00Z"},
        "spec": {"taints": [{"key": "disk", "value": "old", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "110"}, "capacity": {"cpu": "2"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}], "nodeInfo": {"kernelVersion": "6.1"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "NodeReady", "message": "ready"}]}});
    let pod = |name: &str, phase: &str| {
        let value = json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": phase}, "spec": template_spec(),
            "metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-03-01T11:59:00Z"}});
        Doc::new(value).unwrap()
    };
    let related = Related {
        pods: vec![pod("web-1", "Running"), pod("gone", "Succeeded")],
        ..Related::default()
    };
    let text = page(node, &related);
    assert!(text.contains("Non-terminated Pods:  (1 in total)\n"), "{text}");
    assert!(
        text.contains("default             web-1  10m (0%)      0 (0%)      64Mi (6%)        64Mi (6%)      60s\n"),
        "{text}"
    );
    assert!(text.contains("Taints:             disk=old:NoSchedule\n"), "{text}");
    assert!(text.contains("  memory    64Mi (6%)  64Mi (6%)\n"), "{text}");
}

#[test]
fn secrets_keep_their_values() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}, "data": {"password": "aHVudGVyMg=="}});
    let text = page(secret, &Related::default());
    assert!(
        text.contains("password:  7 bytes\n") && !text.contains("aHVudGVyMg"),
        "{text}"
    );
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "default"}, "data": {"a": "one\ntwo"}});
    let text = page(
        map,
        &Related {
            events: Some(vec![]),
            ..Related::default()
        },
    );
    assert!(
        text.contains("\nData\n====\na:\n----\none\ntwo\n\n") && text.ends_with("Events:  <none>\n"),
        "{text}"
    );
}

#[test]
fn nothing_of_a_cluster_moves_the_cursor() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x\u{1b}[2J", "namespace": "default"}});
    assert!(!page(pod, &Related::default()).contains('\u{1b}'));
}

#[test]
fn a_plugin_with_figures() {
    let plugin = json!({"apiVersion": "sampan.dev/v1", "kind": "Plugin", "metadata": {"name": "mine"},
        "spec": {"world": "scheduler", "slot": "default-scheduler", "mode": "Shadow", "digest": "sha256:ab", "config": {"weight": 3}},
        "status": {"phase": "Ready", "name": "mine", "version": "1.0", "summary": "places", "size": 2048}});
    let figures = PluginFigures {
        calls: 7,
        compared: 10,
        differed: 2,
        p50_micros: 5,
        ..PluginFigures::default()
    };
    let text = page(
        plugin,
        &Related {
            figures: Some(figures),
            ..Related::default()
        },
    );
    for line in [
        "Mode:               Shadow\n",
        "  weight: 3\n",
        "2 of 10 decisions differed\n",
        "2.0KiB\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_class_of_priority_and_a_budget() {
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000,
        "description": "Comes first."});
    let nothing = || Related {
        events: Some(vec![]),
        ..Related::default()
    };
    assert_eq!(
        page(class, &nothing()),
        "Name:              high\nValue:             1000\nGlobalDefault:     false\n\
         PreemptionPolicy:  PreemptLowerPriority\nDescription:       Comes first.\nAnnotations:       <none>\n\
         Events:            <none>\n"
    );
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
        "status": {"disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3}});
    assert_eq!(
        page(budget, &nothing()),
        "Name:           web\nNamespace:      default\nMin available:  2\nSelector:       app=web\nStatus:\n    \
         Allowed disruptions:  1\n    Current:              3\n    Desired:              2\n    Total:                3\n\
         Events:                   <none>\n"
    );
}

#[test]
fn services_and_ingresses_say_who_is_behind_them() {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.1", "type": "LoadBalancer", "externalTrafficPolicy": "Local", "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080}, {"name": "admin", "port": 81}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}});
    let endpoint = |address: &str, ready: bool| json!({"addresses": [address], "conditions": {"ready": ready}});
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-x", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [endpoint("10.42.0.2", true), endpoint("10.42.0.3", false), endpoint("10.42.1.2", true)]});
    let related = || Related {
        events: Some(vec![]),
        services: vec![Doc::new(service.clone()).unwrap()],
        slices: vec![Doc::new(slice.clone()).unwrap()],
        ..Related::default()
    };
    let text = page(service.clone(), &related());
    for line in [
        "LoadBalancer Ingress:     192.0.2.7\n",
        "Endpoints:                10.42.0.2:8080,10.42.1.2:8080\n",
        "Endpoints:                <none>\n",
        "External Traffic Policy:  Local\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let to = |name: &str, port: Value| json!({"service": {"name": name, "port": port}});
    let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"tls": [{"hosts": ["shop.example"], "secretName": "shop-tls"}],
            "rules": [{"host": "shop.example", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": to("web", json!({"name": "http"}))},
                {"path": "/b", "pathType": "Prefix", "backend": to("web", json!({"number": 99}))},
                {"path": "/c", "pathType": "Prefix", "backend": to("gone", json!({"number": 80}))}]}}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}]}}});
    assert_eq!(
        page(ingress, &related()).lines().collect::<Vec<_>>(),
        [
            "Name:             shop",
            "Namespace:        default",
            "Labels:           <none>",
            "Annotations:      <none>",
            "Address:          192.0.2.1, 192.0.2.2",
            "Ingress Class:    <none>",
            "Default backend:  <default>",
            "TLS:",
            "  shop-tls terminates shop.example",
            "Rules:",
            "  Host          Path  Backends",
            "  ----          ----  --------",
            "  shop.example",
            "                /     web:http (10.42.0.2:8080,10.42.1.2:8080)",
            "                /b    web:99 (<error: services \"web\" has no port \"99\">)",
            "                /c    gone:80 (<error: services \"gone\" not found>)",
            "Events:         <none>",
        ]
    );
}

#[test]
fn a_policy_says_what_it_lets_through() {
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "web", "namespace": "default", "creationTimestamp": "2026-03-01T11:00:00Z"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"port": 80}, {"protocol": "UDP", "port": 5000, "endPort": 5010}],
                "from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}, {"podSelector": {"matchLabels": {"role": "front"}}}]},
                {}],
            "egress": []}});
    let text = page(policy, &Related::default());
    let spec = text.split("Spec:\n").nth(1).unwrap();
    let lines: Vec<String> = spec
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        lines,
        [
            "PodSelector: app=web",
            "Allowing ingress traffic:",
            "To Port: 80/TCP",
            "To Port: 5000-5010/UDP",
            "From:",
            "IPBlock:",
            "CIDR: 10.0.0.0/8",
            "Except: 10.1.0.0/16",
            "From:",
            "PodSelector: role=front",
            "----------",
            "To Port: <any> (traffic allowed to all ports)",
            "From: <any> (traffic not restricted by source)",
            "Allowing egress traffic:",
            "<none> (Selected pods are isolated for egress connectivity)",
            "Policy Types: Ingress, Egress",
        ]
    );
}
