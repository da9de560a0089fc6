//! Writers of cells: alone and several in a plan, at any revision and at one that was seen.
use super::Book;
use crate::{
    ask::Ask,
    failure::Failure,
    history::{Cell, CellInput, CellOutput, CellWrite, Refusal},
    objects,
};
use sampan_api::{ApiError, Plan, Reason, Revision, Write};
use sampan_state::{Committed, Snapshot};
use std::collections::BTreeMap;

type Known = BTreeMap<Cell, (u64, Revision)>;

/// Groups of cells that plans may hold together.
const GROUPS: [&[Cell]; 3] = [&[100], &[200, 201], &[300, 301, 302]];

/// What to ask, and what that is in the history.
pub fn ask(book: &mut Book, known: &Known) -> (Ask, Vec<CellInput>) {
    if book.random.chance(2, 5) {
        let group = group(book);
        let cells = match book.random.one_of(group) {
            Some(one) if book.random.chance(1, 2) => vec![*one],
            _ => group.to_vec(),
        };
        return (Ask::Read(book.freshness()), vec![CellInput::Read(cells)]);
    }
    let count = if book.random.chance(1, 4) { 2 } else { 1 };
    let (mut plans, mut inputs) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (plan, input) = plan(book, known);
        plans.push(plan);
        inputs.push(input);
    }
    let keyed = book.random.chance(3, 5);
    let key = if keyed { book.key() } else { String::new() };
    (Ask::Commit { plans, key }, inputs)
}

fn group(book: &mut Book) -> &'static [Cell] {
    book.random.one_of(&GROUPS).copied().unwrap_or(GROUPS[0])
}

fn plan(book: &mut Book, known: &Known) -> (Plan, CellInput) {
    let mut cells = group(book).to_vec();
    while cells.len() > 1 && book.random.chance(1, 3) {
        let last = book.random.below(cells.len() as u64);
        cells.remove(usize::try_from(last).unwrap_or(0));
    }
    let writes = cells.into_iter().map(|cell| write(cell, book, known));
    let (writes, inputs): (Vec<Write>, Vec<CellWrite>) = writes.unzip();
    (writes.into(), CellInput::Plan(inputs))
}

fn write(cell: Cell, book: &mut Book, known: &Known) -> (Write, CellWrite) {
    let value = book.next();
    let seen = known.get(&cell).copied();
    let expecting = seen.filter(|_| book.random.chance(1, 2));
    let expect = expecting.map(|(value, _)| value);
    let revision = expecting.map_or(0, |(_, revision)| revision);
    if seen.is_none() && book.random.chance(4, 5) {
        return (objects::cell_create(cell, value), CellWrite::Create { cell, value });
    }
    match book.random.below(10) {
        0 => (objects::cell_create(cell, value), CellWrite::Create { cell, value }),
        1 => (
            objects::cell_delete(cell).expecting(revision),
            CellWrite::Delete { cell, expect },
        ),
        _ => (
            objects::cell_put(cell, value).expecting(revision),
            CellWrite::Put { cell, expect, value },
        ),
    }
}

/// What a read showed.
pub fn saw(operation: usize, state: &Snapshot, known: &mut Known, book: &mut Book) {
    let CellInput::Read(cells) = book.history[operation].input.clone() else {
        return;
    };
    let mut values = Vec::new();
    for cell in cells {
        let object = state.get(&objects::cell_key(cell));
        match &object {
            Some(object) => known.insert(cell, (objects::value_of(object), object.metadata.resource_version)),
            None => known.remove(&cell),
        };
        values.push(object.as_deref().map(objects::value_of));
    }
    book.close(operation, CellOutput::Values(values));
}

/// What came of a plan.
pub fn wrote(
    operation: usize,
    plan: &Plan,
    result: &Result<Committed, ApiError>,
    known: &mut Known,
    book: &mut Book,
) -> Result<(), Failure> {
    let output = match result {
        Ok(committed) => {
            for object in committed.objects.iter().flatten() {
                let cell = object.metadata.name.trim_start_matches('c').parse().unwrap_or_default();
                known.insert(cell, (objects::value_of(object), object.metadata.resource_version));
            }
            CellOutput::Done
        }
        Err(error) => {
            if let CellInput::Plan(writes) = &book.history[operation].input {
                known.retain(|cell, _| writes.iter().all(|write| write.cell() != *cell));
            }
            match error.reason {
                Reason::NotFound => CellOutput::Refused(Refusal::Absent),
                Reason::AlreadyExists => CellOutput::Refused(Refusal::Exists),
                Reason::Conflict => CellOutput::Refused(Refusal::Changed),
                _ => return Err(Failure::new(format!("{plan:?} was refused: {error}"))),
            }
        }
    };
    book.close(operation, output);
    Ok(())
}
