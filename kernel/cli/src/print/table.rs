//! Tables in kubectl's dress: no borders, three spaces between columns, headers in capitals.
use super::{Moment, columns};
use crate::{
    doc::{self, Doc},
    terminal::{Tone, paint},
};

/// What to show beside a kind's own columns.
#[derive(Clone, Debug, Default)]
pub struct Dress {
    pub wide: bool,
    pub namespace: bool,
    pub no_headers: bool,
    pub show_labels: bool,
    /// Labels that are columns.
    pub label_columns: Vec<String>,
    /// Names as `deployment.apps/web`.
    pub show_kind: bool,
    /// What happened, in front: for watches.
    pub events: bool,
    pub colours: bool,
}

/// Rows that are printed in columns. Widths only grow, so that lines which come later stand under those before.
#[derive(Clone, Debug, Default)]
pub struct Table {
    headers: Vec<String>,
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
    colours: bool,
}

impl Table {
    pub fn new(headers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Table {
            headers: headers.into_iter().map(Into::into).collect(),
            ..Table::default()
        }
    }

    #[must_use]
    pub fn coloured(mut self, colours: bool) -> Self {
        self.colours = colours;
        self
    }

    /// With one more column at the end.
    #[must_use]
    pub fn with(mut self, header: &str) -> Self {
        self.headers.push(header.to_owned());
        self
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        // A cell is one line, and does not move the terminal's cursor.
        let plain = |cell: String| cell.replace(|c: char| c.is_control(), " ");
        self.rows
            .push(cells.into_iter().map(|cell| plain(cell.into())).collect());
    }

    /// The lines gathered since the last time, with the headers if asked.
    pub fn take(&mut self, headers: bool) -> String {
        let rows = std::mem::take(&mut self.rows);
        let head = headers.then(|| self.headers.clone());
        let count = self.headers.len().max(rows.iter().map(Vec::len).max().unwrap_or(0));
        self.widths.resize(count, 0);
        for row in head.iter().chain(&rows) {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut out = String::new();
        if let Some(head) = &head {
            self.line(head, false, &mut out);
        }
        rows.iter().for_each(|row| self.line(row, self.colours, &mut out));
        out
    }

    /// All of it.
    pub fn to_text(&mut self, headers: bool) -> String {
        self.take(headers)
    }

    fn line(&self, cells: &[String], colours: bool, out: &mut String) {
        let last = cells.iter().rposition(|cell| !cell.is_empty()).unwrap_or(0);
        for (index, cell) in cells.iter().enumerate().take(last + 1) {
            let shown = match self.headers.get(index) {
                Some(header) if colours => paint(tone(header, cell), cell),
                _ => cell.clone(),
            };
            out.push_str(&shown);
            if index < last {
                let room = self
                    .widths
                    .get(index)
                    .copied()
                    .unwrap_or(0)
                    .saturating_sub(cell.chars().count())
                    + 3;
                out.extend(std::iter::repeat_n(' ', room));
            }
        }
        out.push('\n');
    }
}

/// What a cell means, for those who see colours.
fn tone(header: &str, cell: &str) -> Tone {
    match header {
        "STATUS" | "PHASE" | "MODE" => {
            let first = cell.split(',').next().unwrap_or_default();
            match first {
                "Running" | "Ready" | "Active" | "Complete" | "Completed" | "Succeeded" | "ok" => Tone::Good,
                "Pending" | "ContainerCreating" | "Terminating" | "Shadow" | "Suspended" | "PodInitializing" => {
                    Tone::Doubtful
                }
                "Standby" | "LastGood" | "<none>" | "" => Tone::Plain,
                _ if first.starts_with("Init:") && first.contains('/') => Tone::Doubtful,
                _ => Tone::Bad,
            }
        }
        "READY" => match cell.split_once('/') {
            Some((ready, wanted)) if ready != wanted => Tone::Doubtful,
            _ => Tone::Plain,
        },
        "TYPE" if cell == "Warning" => Tone::Doubtful,
        "AGE" | "LAST SEEN" => Tone::Dim,
        _ => Tone::Plain,
    }
}

/// A table for objects of one kind.
pub fn for_kind(kind: &sampan_api::KindInfo, dress: &Dress) -> Table {
    let mut headers: Vec<String> = Vec::new();
    headers.extend(dress.events.then(|| "EVENT".to_owned()));
    headers.extend(dress.namespace.then(|| "NAMESPACE".to_owned()));
    headers.extend(columns::shown(kind, dress.wide).map(|column| column.name.to_owned()));
    headers.extend(
        dress
            .label_columns
            .iter()
            .map(|key| key.rsplit('/').next().unwrap_or(key).to_uppercase()),
    );
    headers.extend(dress.show_labels.then(|| "LABELS".to_owned()));
    Table::new(headers).coloured(dress.colours)
}

/// An object's row in its kind's table.
pub fn cells(doc: &Doc, event: &str, dress: &Dress, now: Moment) -> Vec<String> {
    let mut cells: Vec<String> = Vec::new();
    cells.extend(dress.events.then(|| event.to_owned()));
    cells.extend(dress.namespace.then(|| doc.namespace().to_owned()));
    for column in columns::shown(doc.kind, dress.wide) {
        cells.push(match column.name {
            "NAME" if dress.show_kind => doc.full_name(),
            _ => (column.cell)(&doc.value, now),
        });
    }
    let labels = doc.at("/metadata/labels");
    cells.extend(dress.label_columns.iter().map(|key| doc::plain(&labels[key.as_str()])));
    if dress.show_labels {
        cells.push(columns::joined(labels));
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_widths_only_grow() {
        let mut table = Table::new(["NAME", "READY", "AGE"]);
        table.row(["a-long-name", "1/1", "5s"]);
        assert_eq!(
            table.take(true),
            "NAME          READY   AGE\na-long-name   1/1     5s\n"
        );
        table.row(["b", "0/1", ""]);
        assert_eq!(table.take(false), "b             0/1\n");
    }

    #[test]
    fn colours_do_not_shift_columns() {
        let mut table = Table::new(["STATUS", "AGE"]).coloured(true);
        table.row(["Running", "5s"]);
        let text = table.take(true);
        assert!(text.contains("\u{1b}[32mRunning\u{1b}[0m   "), "{text:?}");
    }
}
