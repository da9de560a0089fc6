//! Containers and templates of pods: what a pod will be, and how its containers are.
use super::page::Page;
use crate::{
    doc::{at, entries, list, number, plain, text},
    print::{
        age,
        columns::{or_else, or_none},
    },
};
use serde_json::Value;

/// A pod template, as deployments, replica sets and jobs show it.
pub fn describe(template: &Value, page: &mut Page) {
    page.head(0, "Pod Template");
    page.map(1, "Labels", at(template, "/metadata/labels"));
    if entries(template, "/metadata/annotations").next().is_some() {
        page.annotations(1, "Annotations", at(template, "/metadata/annotations"));
    }
    page.field_if(1, "Service Account", text(template, "/spec/serviceAccountName"));
    if !list(template, "/spec/initContainers").is_empty() {
        containers(1, "Init Containers", list(template, "/spec/initContainers"), &[], page);
    }
    containers(1, "Containers", list(template, "/spec/containers"), &[], page);
    volumes(1, list(template, "/spec/volumes"), page);
    page.map(1, "Node-Selectors", at(template, "/spec/nodeSelector"));
    tolerations(1, list(template, "/spec/tolerations"), page);
}

/// Containers, with their states where there are any.
pub fn containers(level: usize, head: &str, specs: &[Value], statuses: &[Value], page: &mut Page) {
    page.head(level, head);
    for spec in specs {
        let name = text(spec, "/name");
        page.head(level + 1, name);
        let status = statuses.iter().find(|status| text(status, "/name") == name);
        container(level + 2, spec, status, page);
    }
}

fn container(level: usize, spec: &Value, status: Option<&Value>, page: &mut Page) {
    if let Some(status) = status {
        page.field(level, "Container ID", text(status, "/containerID"));
    }
    page.field(level, "Image", text(spec, "/image"));
    if let Some(status) = status {
        page.field(level, "Image ID", text(status, "/imageID"));
    }
    ports(level, list(spec, "/ports"), page);
    for (name, pointer) in [("Command", "/command"), ("Args", "/args")] {
        if !list(spec, pointer).is_empty() {
            page.head(level, name);
            for arg in list(spec, pointer) {
                plain(arg).lines().for_each(|line| page.line(level + 1, line));
            }
        }
    }
    if let Some(status) = status {
        state(level, "State", at(status, "/state"), page);
        if entries(status, "/lastState").next().is_some() {
            state(level, "Last State", at(status, "/lastState"), page);
        }
        let ready = at(status, "/ready") == &Value::Bool(true);
        page.field(level, "Ready", if ready { "True" } else { "False" });
        page.field(level, "Restart Count", number(status, "/restartCount"));
    }
    for (name, pointer) in [("Limits", "/resources/limits"), ("Requests", "/resources/requests")] {
        if entries(spec, pointer).next().is_some() {
            page.head(level, name);
            entries(spec, pointer).for_each(|(resource, amount)| page.field(level + 1, resource, plain(amount)));
        }
    }
    for (name, pointer) in [
        ("Liveness", "/livenessProbe"),
        ("Readiness", "/readinessProbe"),
        ("Startup", "/startupProbe"),
    ] {
        if !at(spec, pointer).is_null() {
            page.field(level, name, probe(at(spec, pointer)));
        }
    }
    environment(level, spec, page);
    mounts(level, spec, page);
}

fn ports(level: usize, ports: &[Value], page: &mut Page) {
    let show = |field: &str, named: bool| {
        let one = |port: &Value| {
            let name = text(port, "/name");
            let suffix = if named && !name.is_empty() {
                format!(" ({name})")
            } else {
                String::new()
            };
            format!(
                "{}/{}{suffix}",
                number(port, field),
                or_else(text(port, "/protocol"), "TCP")
            )
        };
        or_none(&ports.iter().map(one).collect::<Vec<_>>().join(", "))
    };
    let word = if ports.len() > 1 { "Ports" } else { "Port" };
    page.field(level, word, show("/containerPort", true));
    page.field(level, &format!("Host {word}"), show("/hostPort", false));
}

fn state(level: usize, name: &str, state: &Value, page: &mut Page) {
    if let Some(running) = state.get("running") {
        page.field(level, name, "Running");
        page.field(level + 1, "Started", age::long(text(running, "/startedAt")));
    } else if let Some(terminated) = state.get("terminated") {
        page.field(level, name, "Terminated");
        page.field_if(level + 1, "Reason", text(terminated, "/reason"));
        page.field_if(level + 1, "Message", text(terminated, "/message"));
        page.field(level + 1, "Exit Code", number(terminated, "/exitCode"));
        if number(terminated, "/signal") != 0 {
            page.field(level + 1, "Signal", number(terminated, "/signal"));
        }
        page.field(level + 1, "Started", age::long(text(terminated, "/startedAt")));
        page.field(level + 1, "Finished", age::long(text(terminated, "/finishedAt")));
    } else {
        page.field(level, name, "Waiting");
        let waiting = at(state, "/waiting");
        page.field_if(level + 1, "Reason", text(waiting, "/reason"));
        page.field_if(level + 1, "Message", text(waiting, "/message"));
    }
}

fn probe(probe: &Value) -> String {
    let or = |pointer: &str, default: i64| at(probe, pointer).as_i64().unwrap_or(default);
    let attrs = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        or("/initialDelaySeconds", 0),
        or("/timeoutSeconds", 1),
        or("/periodSeconds", 10),
        or("/successThreshold", 1),
        or("/failureThreshold", 3)
    );
    if let Some(exec) = probe.get("exec") {
        let command: Vec<_> = list(exec, "/command").iter().map(plain).collect();
        return format!("exec [{}] {attrs}", command.join(" "));
    }
    if let Some(get) = probe.get("httpGet") {
        let scheme = if text(get, "/scheme").is_empty() {
            "http".to_owned()
        } else {
            text(get, "/scheme").to_lowercase()
        };
        return format!(
            "http-get {scheme}://{}:{}{} {attrs}",
            text(get, "/host"),
            plain(at(get, "/port")),
            text(get, "/path")
        );
    }
    if let Some(socket) = probe.get("tcpSocket") {
        return format!(
            "tcp-socket {}:{} {attrs}",
            text(socket, "/host"),
            plain(at(socket, "/port"))
        );
    }
    if let Some(grpc) = probe.get("grpc") {
        return format!(
            "grpc <pod>:{} {} {attrs}",
            plain(at(grpc, "/port")),
            text(grpc, "/service")
        );
    }
    format!("unknown {attrs}")
}

fn environment(level: usize, spec: &Value, page: &mut Page) {
    let from = list(spec, "/envFrom");
    if !from.is_empty() {
        page.head(level, "Environment Variables from");
        for source in from {
            let (kind, source_ref) = match source.get("configMapRef") {
                Some(map) => ("ConfigMap", map),
                None => ("Secret", at(source, "/secretRef")),
            };
            let optional = at(source_ref, "/optional") == &Value::Bool(true);
            page.line(
                level + 1,
                format_args!("{}\t{kind}\tOptional: {optional}", text(source_ref, "/name")),
            );
        }
    }
    let env = list(spec, "/env");
    if env.is_empty() {
        page.field(level, "Environment", "<none>");
        return;
    }
    page.head(level, "Environment");
    for variable in env {
        page.field(level + 1, text(variable, "/name"), variable_value(variable));
    }
}

fn variable_value(variable: &Value) -> String {
    let from = at(variable, "/valueFrom");
    for (field, kind) in [("configMapKeyRef", "config map"), ("secretKeyRef", "secret")] {
        if let Some(key) = from.get(field) {
            let optional = at(key, "/optional") == &Value::Bool(true);
            return format!(
                "<set to the key '{}' in {kind} '{}'>\tOptional: {optional}",
                text(key, "/key"),
                text(key, "/name")
            );
        }
    }
    if let Some(field) = from.get("fieldRef") {
        return format!("({})", text(field, "/fieldPath"));
    }
    if let Some(resource) = from.get("resourceFieldRef") {
        return format!("({})", text(resource, "/resource"));
    }
    plain(at(variable, "/value")).replace('\n', "\n\t")
}

fn mounts(level: usize, spec: &Value, page: &mut Page) {
    let mounts = list(spec, "/volumeMounts");
    if mounts.is_empty() {
        page.field(level, "Mounts", "<none>");
        return;
    }
    page.head(level, "Mounts");
    for mount in mounts {
        let mode = if at(mount, "/readOnly") == &Value::Bool(true) {
            "ro"
        } else {
            "rw"
        };
        let path = match text(mount, "/subPath") {
            "" => String::new(),
            path => format!(",path=\"{path}\""),
        };
        page.line(
            level + 1,
            format_args!(
                "{} from {} ({mode}{path})",
                text(mount, "/mountPath"),
                text(mount, "/name")
            ),
        );
    }
}

/// Volumes by what they are made of.
pub fn volumes(level: usize, volumes: &[Value], page: &mut Page) {
    if volumes.is_empty() {
        page.field(level, "Volumes", "<none>");
        return;
    }
    page.head(level, "Volumes");
    for volume in volumes {
        page.head(level + 1, text(volume, "/name"));
        let level = level + 2;
        let source = volume
            .as_object()
            .into_iter()
            .flatten()
            .find(|(field, _)| *field != "name");
        match source.map(|(field, source)| (field.as_str(), source)) {
            Some(("emptyDir", source)) => {
                page.field(
                    level,
                    "Type",
                    "EmptyDir (a temporary directory that shares a pod's lifetime)",
                );
                page.field(level, "Medium", text(source, "/medium"));
                let limit = plain(at(source, "/sizeLimit"));
                page.field(level, "SizeLimit", if limit.is_empty() { "<unset>" } else { &limit });
            }
            Some(("hostPath", source)) => {
                page.field(level, "Type", "HostPath (bare host directory volume)");
                page.field(level, "Path", text(source, "/path"));
                page.field(level, "HostPathType", text(source, "/type"));
            }
            Some(("configMap", source)) => {
                page.field(level, "Type", "ConfigMap (a volume populated by a ConfigMap)");
                page.field(level, "Name", text(source, "/name"));
                page.field(level, "Optional", at(source, "/optional") == &Value::Bool(true));
            }
            Some(("secret", source)) => {
                page.field(level, "Type", "Secret (a volume populated by a Secret)");
                page.field(level, "SecretName", text(source, "/secretName"));
                page.field(level, "Optional", at(source, "/optional") == &Value::Bool(true));
            }
            Some((field, _)) => page.field(level, "Type", field),
            None => page.field(level, "Type", "<unknown>"),
        }
    }
}

/// Tolerations, each on its line: `disk=ssd:NoSchedule for 300s`.
pub fn tolerations(level: usize, tolerations: &[Value], page: &mut Page) {
    let one = |toleration: &Value| {
        let mut shown = text(toleration, "/key").to_owned();
        match text(toleration, "/value") {
            "" => {}
            value => shown.push_str(&format!("={value}")),
        }
        match text(toleration, "/effect") {
            "" => {}
            effect => shown.push_str(&format!(":{effect}")),
        }
        if text(toleration, "/operator") == "Exists" {
            shown.push_str(if shown.is_empty() { "op=Exists" } else { " op=Exists" });
        }
        if let Some(seconds) = at(toleration, "/tolerationSeconds").as_i64() {
            shown.push_str(&format!(" for {seconds}s"));
        }
        shown
    };
    page.list(level, "Tolerations", tolerations.iter().map(one));
}
