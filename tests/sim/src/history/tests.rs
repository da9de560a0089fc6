//! The checker on histories that are known to be good, or bad.
use super::{CellInput, CellOutput, CellWrite, Cells, Operation, Refusal, Verdict, check};
use crate::random::Random;
use std::collections::BTreeMap;

type Op = Operation<CellInput, CellOutput>;

fn op(client: u64, call: u64, input: CellInput, answered: Option<(u64, CellOutput)>) -> Op {
    Operation {
        client,
        call,
        input,
        answered,
    }
}

fn create(cell: u64, value: u64) -> CellInput {
    CellInput::Plan(vec![CellWrite::Create { cell, value }])
}

fn put(cell: u64, value: u64) -> CellInput {
    let expect = None;
    CellInput::Plan(vec![CellWrite::Put { cell, expect, value }])
}

fn swap(cell: u64, expect: u64, value: u64) -> CellInput {
    let expect = Some(expect);
    CellInput::Plan(vec![CellWrite::Put { cell, expect, value }])
}

fn read(cells: &[u64]) -> CellInput {
    CellInput::Read(cells.to_vec())
}

fn done(at: u64) -> Option<(u64, CellOutput)> {
    Some((at, CellOutput::Done))
}

fn saw(at: u64, values: &[Option<u64>]) -> Option<(u64, CellOutput)> {
    Some((at, CellOutput::Values(values.to_vec())))
}

fn good(history: &[Op]) {
    assert_eq!(check(&Cells, history), Verdict::Linearizable);
}

fn bad(history: &[Op]) {
    let verdict = check(&Cells, history);
    assert!(matches!(verdict, Verdict::Violated(_)), "{verdict:?}");
}

#[test]
fn one_after_the_other() {
    let mut history = vec![
        op(1, 1, read(&[1]), saw(2, &[None])),
        op(1, 3, create(1, 10), done(4)),
        op(1, 5, create(1, 11), Some((6, CellOutput::Refused(Refusal::Exists)))),
        op(1, 7, swap(1, 10, 12), done(8)),
        op(1, 9, swap(1, 10, 13), Some((10, CellOutput::Refused(Refusal::Changed)))),
        op(1, 11, read(&[1]), saw(12, &[Some(12)])),
    ];
    good(&history);
    history[5].answered = saw(12, &[Some(10)]);
    bad(&history);
}

#[test]
fn what_overlaps_may_be_seen_or_not() {
    for seen in [None, Some(10)] {
        good(&[op(1, 1, create(1, 10), done(9)), op(2, 2, read(&[1]), saw(3, &[seen]))]);
    }
    // Once seen it stays.
    bad(&[
        op(1, 1, create(1, 10), done(9)),
        op(2, 2, read(&[1]), saw(3, &[Some(10)])),
        op(3, 4, read(&[1]), saw(5, &[None])),
    ]);
}

#[test]
fn a_stale_read() {
    bad(&[
        op(1, 1, create(1, 10), done(2)),
        op(1, 3, put(1, 11), done(4)),
        op(2, 5, read(&[1]), saw(6, &[Some(10)])),
    ]);
}

#[test]
fn a_lost_write() {
    bad(&[
        op(1, 1, create(1, 10), done(2)),
        op(1, 3, put(1, 11), done(4)),
        op(2, 5, swap(1, 10, 12), done(6)),
    ]);
    bad(&[op(1, 1, create(1, 10), done(2)), op(2, 3, read(&[1]), saw(4, &[None]))]);
}

#[test]
fn a_write_that_acted_twice() {
    // Client 1's put is seen, overwritten, and seen again.
    bad(&[
        op(1, 1, create(1, 10), done(2)),
        op(1, 3, put(1, 11), done(20)),
        op(2, 4, read(&[1]), saw(5, &[Some(11)])),
        op(3, 6, put(1, 12), done(7)),
        op(2, 8, read(&[1]), saw(9, &[Some(12)])),
        op(2, 10, read(&[1]), saw(11, &[Some(11)])),
    ]);
}

#[test]
fn a_compare_and_swap_that_succeeded_twice() {
    bad(&[
        op(1, 1, create(1, 10), done(2)),
        op(1, 3, swap(1, 10, 11), done(9)),
        op(2, 4, swap(1, 10, 12), done(8)),
    ]);
    good(&[
        op(1, 1, create(1, 10), done(2)),
        op(1, 3, swap(1, 10, 11), done(9)),
        op(2, 4, swap(1, 10, 12), Some((8, CellOutput::Refused(Refusal::Changed)))),
    ]);
}

#[test]
fn a_torn_plan() {
    let both = |value: u64| {
        let writes = [1, 2].map(|cell| CellWrite::Put {
            cell,
            expect: None,
            value: value + cell,
        });
        CellInput::Plan(writes.to_vec())
    };
    let start = || {
        vec![
            op(1, 1, create(1, 1), done(2)),
            op(1, 3, create(2, 2), done(4)),
            op(1, 5, both(10), done(9)),
        ]
    };
    let mut history = start();
    history.push(op(2, 6, read(&[1, 2]), saw(7, &[Some(11), Some(2)])));
    bad(&history);
    let mut history = start();
    history.push(op(2, 6, read(&[1, 2]), saw(7, &[Some(11), Some(12)])));
    history.push(op(3, 6, read(&[1, 2]), saw(8, &[Some(1), Some(2)])));
    good(&history);
}

#[test]
fn without_an_answer_it_may_act_late_or_never() {
    let history = |last: Option<u64>| {
        [
            op(1, 1, create(1, 10), None),
            op(2, 2, read(&[1]), saw(3, &[None])),
            op(2, 4, read(&[1]), saw(5, &[last])),
        ]
    };
    good(&history(None));
    good(&history(Some(10)));
    // Never before its call.
    bad(&[op(2, 1, read(&[1]), saw(2, &[Some(10)])), op(1, 3, create(1, 10), None)]);
    // Not twice either.
    bad(&[
        op(1, 1, create(1, 10), done(2)),
        op(1, 3, put(1, 11), None),
        op(2, 4, read(&[1]), saw(5, &[Some(11)])),
        op(2, 6, put(1, 12), done(7)),
        op(2, 8, read(&[1]), saw(9, &[Some(11)])),
    ]);
}

#[test]
fn groups_are_apart_and_all_are_checked() {
    let mut history = vec![
        op(1, 1, create(100, 10), done(2)),
        op(1, 3, create(200, 20), done(4)),
        op(2, 5, read(&[100]), saw(6, &[Some(10)])),
        op(2, 7, read(&[200]), saw(8, &[Some(20)])),
    ];
    good(&history);
    history[3].answered = saw(8, &[None]);
    bad(&history);
}

/// Histories made by a register with delays are good; with one answer made stale they are bad.
#[test]
fn random_histories() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut cells = BTreeMap::from([(1, 1)]);
        let mut history = vec![op(0, 1, create(1, 1), done(2))];
        let mut time = 10;
        for value in 2..60 {
            // Each acts at `time`; calls and answers reach out around it.
            time += 10;
            let (call, back) = (time - random.below(25).min(time - 3), time + random.below(25));
            let lost = random.chance(1, 8);
            let (input, output) = if random.chance(1, 2) {
                cells.insert(1, value);
                (put(1, value), CellOutput::Done)
            } else {
                (read(&[1]), CellOutput::Values(vec![cells.get(&1).copied()]))
            };
            history.push(op(value, call, input, (!lost).then_some((back, output))));
        }
        good(&history);
        history.push(op(99, time + 50, put(1, 100), done(time + 51)));
        history.push(op(99, time + 52, read(&[1]), saw(time + 53, &[Some(1)])));
        bad(&history);
    }
}
