//! Failures of plugins on this node, and how they are told.
use crate::{
    control::{About, NodeEvent, Writer},
    host,
};

/// A failure, for people.
#[derive(Debug)]
pub struct Failure {
    pub plugin: String,
    pub why: String,
    /// It has failed so often that it is not asked again.
    pub given_up: bool,
}

/// Where failures of plugins are told, with the uid of the plugin's object.
pub type Tell = Box<dyn Fn(&Failure, &str) + Send>;

/// Failures of plugins become events of their objects.
pub fn tell(writer: Writer) -> Tell {
    Box::new(move |failure, uid| {
        let (plugin, why) = (&failure.plugin, &failure.why);
        tracing::warn!(
            plugin,
            why,
            given_up = failure.given_up,
            "a network plugin failed on this node"
        );
        let message = match failure.given_up {
            true => format!("{why}; it is not asked again on this node, and what it said last stays"),
            false => why.clone(),
        };
        let about = About {
            api_version: "sampan.dev/v1",
            kind: "Plugin",
            namespace: String::new(),
            name: plugin.clone(),
            uid: uid.to_owned(),
        };
        writer.event(NodeEvent {
            about,
            field_path: String::new(),
            warning: true,
            reason: "PluginFailed",
            message,
            at: host::unix_millis(),
        });
    })
}
