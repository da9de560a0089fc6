//! What a deployment was before, and the way back. Its past is its replica sets: each has the template of its revision.
use super::{Says, change, is_paused};
use crate::{
    describe,
    doc::{Doc, list, plain},
    print::Table,
    session::Session,
};
use anyhow::{Context, Result, anyhow, bail};
use sampan_api::rpc;
use serde_json::{Value, json};

const REVISION: &str = "deployment.kubernetes.io/revision";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
const TEMPLATE_HASH: &str = "pod-template-hash";

/// The revision of a deployment or of a replica set; 0 where it has none.
pub fn revision(object: &Value) -> i64 {
    object["metadata"]["annotations"][REVISION]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// The replica sets of a deployment, oldest revision first.
async fn past(doc: &Doc, session: &Session) -> Result<Vec<Doc>> {
    let selection = rpc::Selection {
        resource: "replicasets.apps".to_owned(),
        namespace: doc.namespace().to_owned(),
        ..rpc::Selection::default()
    };
    let owned = |set: &Doc| {
        list(&set.value, "/metadata/ownerReferences")
            .iter()
            .any(|owner| owner["uid"] == doc.uid())
    };
    let mut sets: Vec<Doc> = session
        .list(&selection)
        .await?
        .objects
        .into_iter()
        .filter(owned)
        .collect();
    sets.sort_by_key(|set| revision(&set.value));
    Ok(sets)
}

/// Prints the revisions, or one of them.
pub async fn show(doc: &Doc, wanted: i64, session: &Session) -> Result<()> {
    let sets = past(doc, session).await?;
    if wanted > 0 {
        let set = sets.iter().find(|set| revision(&set.value) == wanted);
        let set =
            set.with_context(|| format!("unable to find the specified revision {wanted} of {}", doc.full_name()))?;
        println!("{} with revision #{wanted}", doc.full_name());
        print!("{}", describe::template(set));
        return Ok(());
    }
    println!("{} ", doc.full_name());
    print!("{}", table(&sets));
    println!();
    Ok(())
}

fn table(sets: &[Doc]) -> String {
    let mut table = Table::new(["REVISION", "CHANGE-CAUSE"]);
    for set in sets {
        let cause = plain(&set.value["metadata"]["annotations"][CHANGE_CAUSE]);
        let cause = if cause.is_empty() { "<none>".to_owned() } else { cause };
        table.row([revision(&set.value).to_string(), cause]);
    }
    table.to_text(true)
}

/// Gives the deployment the template that it had before.
pub async fn undo(doc: &Doc, wanted: i64, says: &Says, session: &Session) -> Result<()> {
    if is_paused(doc) {
        bail!(
            "a paused deployment is not rolled back: `sampan rollout resume {}` first",
            doc.full_name()
        );
    }
    let sets = past(doc, session).await?;
    let set = choose(&sets, revision(&doc.value), wanted).ok_or_else(|| match wanted {
        0 => anyhow!(
            "no rollout history found for {}: there is no revision before this one",
            doc.full_name()
        ),
        _ => anyhow!(
            "unable to find the specified revision {wanted} of {} in its history",
            doc.full_name()
        ),
    })?;
    let found = revision(&set.value);
    let template = template(set);
    if &template == doc.at("/spec/template") {
        let message = format!("skipped rollback (current template already matches revision {found})");
        return says.say(doc, &message);
    }
    // What the older template does not have must go, which a plain merge would keep.
    let mut cause = json!({});
    cause[CHANGE_CAUSE] = set.value["metadata"]["annotations"][CHANGE_CAUSE].clone();
    let patched = difference(doc.at("/spec/template"), &template);
    let patch = json!({"metadata": {"annotations": cause}, "spec": {"template": patched}});
    change(doc, &patch, "rolled back", says, session).await
}

/// The set to go back to: of that revision, or the newest before the current one.
fn choose(sets: &[Doc], current: i64, wanted: i64) -> Option<&Doc> {
    match wanted {
        0 => sets.iter().rfind(|set| {
            revision(&set.value) < current || (current == 0 && Some(set.uid()) != sets.last().map(Doc::uid))
        }),
        wanted => sets.iter().find(|set| revision(&set.value) == wanted),
    }
}

/// A set's template, as the deployment had it.
fn template(set: &Doc) -> Value {
    let mut template = set.at("/spec/template").clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove(TEMPLATE_HASH);
    }
    template
}

/// The merge patch that makes `before` into `after`: what is only in `before` becomes null.
fn difference(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return after.clone();
    };
    let mut patch = serde_json::Map::new();
    for (name, value) in after {
        match before.get(name) {
            Some(old) if old == value => {}
            Some(old) => drop(patch.insert(name.clone(), difference(old, value))),
            None => drop(patch.insert(name.clone(), value.clone())),
        }
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    patch.extend(gone.map(|name| (name.clone(), Value::Null)));
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, revision: &str, cause: Option<&str>) -> Doc {
        Doc::new(
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name, "uid": name,
            "annotations": {REVISION: revision, CHANGE_CAUSE: cause}},
            "spec": {"template": {"metadata": {"labels": {"app": "web", TEMPLATE_HASH: name}}}}}),
        )
        .unwrap()
    }

    #[test]
    fn the_way_back() {
        let sets = [set("a", "1", None), set("b", "2", Some("two")), set("c", "3", None)];
        assert_eq!(choose(&sets, 3, 0).map(Doc::name), Some("b"));
        assert_eq!(choose(&sets, 3, 1).map(Doc::name), Some("a"));
        assert_eq!(choose(&sets, 3, 7).map(Doc::name), None);
        assert_eq!(choose(&sets[..1], 1, 0).map(Doc::name), None);
        assert_eq!(
            table(&sets),
            "REVISION   CHANGE-CAUSE\n1          <none>\n2          two\n3          <none>\n"
        );
        assert_eq!(template(&sets[0]), json!({"metadata": {"labels": {"app": "web"}}}));
    }

    #[test]
    fn what_the_older_template_lacks_goes() {
        let before =
            json!({"spec": {"hostname": "x", "containers": [{"name": "a"}]}, "metadata": {"labels": {"app": "web"}}});
        let after = json!({"spec": {"containers": [{"name": "b"}]}, "metadata": {"labels": {"app": "web"}}});
        assert_eq!(
            difference(&before, &after),
            json!({"spec": {"hostname": null, "containers": [{"name": "b"}]}})
        );
    }
}
