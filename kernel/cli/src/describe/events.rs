//! What happened to an object, oldest first.
use super::page::Page;
use crate::{
    doc::Doc,
    print::{
        Moment,
        columns::{chronology, seen, source},
    },
};

pub fn describe(events: &[Doc], now: Moment, page: &mut Page) {
    if events.is_empty() {
        page.field(0, "Events", "<none>");
        return;
    }
    let mut events: Vec<&Doc> = events.iter().collect();
    events.sort_by_key(|event| chronology(&event.value));
    page.head(0, "Events");
    let rows = events.into_iter().map(|event| {
        let message = event.text("/message").trim().replace('\n', " ");
        vec![
            event.text("/type").to_owned(),
            event.text("/reason").to_owned(),
            seen(&event.value, now),
            source(&event.value),
            message,
        ]
    });
    page.table(1, &["Type", "Reason", "Age", "From", "Message"], rows);
}
