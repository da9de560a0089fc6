//! The log under torn, damaged and missing bytes.
use super::*;
use sampan_state::eraftpb::Entry;

fn record(index: u64) -> Persisted {
    let data = vec![7; 100 + usize::try_from(index).unwrap() % 50].into();
    Persisted {
        entries: vec![Entry {
            index,
            term: 1,
            data,
            ..Entry::default()
        }],
        hard_state: None,
    }
}

fn indexes(dir: &Path) -> Result<Vec<u64>, OpenError> {
    let mut found = Vec::new();
    Segments::open(dir, |record| {
        found.extend(record.entries.iter().map(|entry| entry.index))
    })?;
    Ok(found)
}

fn filled(dir: &Path, count: u64) -> PathBuf {
    let mut log = Segments::open(dir, |_| {}).unwrap();
    (1..=count).for_each(|index| log.append(&record(index)).unwrap());
    log.current.path.clone()
}

#[test]
fn what_was_appended_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 100);
    assert_eq!(indexes(dir.path()).unwrap(), (1..=100).collect::<Vec<_>>());
    let mut log = Segments::open(dir.path(), |_| {}).unwrap();
    log.append(&record(101)).unwrap();
    assert_eq!(indexes(dir.path()).unwrap().len(), 101);
}

#[test]
fn a_torn_tail_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path(), 10);
    let end = Segments::open(dir.path(), |_| {}).unwrap().end;
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    // The last record's payload is changed, and half a record follows.
    file.write_all_at(&[9; 8], end - 16).unwrap();
    file.write_all_at(&200_u32.to_le_bytes(), end).unwrap();
    assert_eq!(indexes(dir.path()).unwrap(), (1..=9).collect::<Vec<_>>());
    assert_eq!(indexes(dir.path()).unwrap().len(), 9, "and stays cut");
}

#[test]
fn damage_in_the_middle_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path(), 10);
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[9; 8], 200).unwrap();
    let error = indexes(dir.path()).unwrap_err();
    assert!(
        matches!(error, OpenError::Corrupt { offset, .. } if offset < 200),
        "{error}"
    );
}

#[test]
fn what_a_newer_build_wrote_is_left_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path(), 2);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[7] = b'2';
    std::fs::write(&path, &bytes).unwrap();
    let refused = indexes(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("written by a newer build"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn segments_roll_and_old_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Segments::open(dir.path(), |_| {}).unwrap();
    let large = |index| Persisted {
        entries: vec![Entry {
            index,
            term: 1,
            data: vec![1; 6 << 20].into(),
            ..Entry::default()
        }],
        hard_state: None,
    };
    (1..=8).for_each(|index| log.append(&large(index)).unwrap());
    assert_eq!(log.ended.len(), 2);
    log.forget(5);
    assert_eq!(
        log.ended.len(),
        1,
        "the entries of the second are not all in the checkpoint"
    );
    assert_eq!(indexes(dir.path()).unwrap().first(), Some(&4));
}

#[test]
fn every_cut_and_every_changed_byte_of_the_last_record_leaves_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path(), 3);
    let whole = std::fs::read(&path).unwrap();
    let end = usize::try_from(Segments::open(dir.path(), |_| {}).unwrap().end).unwrap();
    let begin = end - usize::try_from(aligned(FRAME + record(3).encoded_len() as u64)).unwrap();
    for at in begin..end {
        let mut cut = whole.clone();
        cut[at..].fill(0);
        std::fs::write(&path, &cut).unwrap();
        let found = indexes(dir.path()).unwrap();
        assert!(found == [1, 2] || found == [1, 2, 3], "cut at {at}: {found:?}");
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        let found = indexes(dir.path()).unwrap();
        assert!(found == [1, 2] || found == [1, 2, 3], "changed at {at}: {found:?}");
    }
}

#[test]
fn zeros_and_changes_in_the_middle_refuse_wherever_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path(), 10);
    let whole = std::fs::read(&path).unwrap();
    let first = usize::try_from(HEADER + aligned(FRAME + record(1).encoded_len() as u64)).unwrap();
    for at in (8..first).step_by(3) {
        let mut damaged = whole.clone();
        damaged[at..at + 64].fill(0);
        std::fs::write(&path, &damaged).unwrap();
        let error = indexes(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("damaged in its middle, at byte") && error.contains("0001.log"),
            "{error}"
        );
    }
}

#[test]
fn a_missing_segment_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Segments::open(dir.path(), |_| {}).unwrap();
    let large = |index| Persisted {
        entries: vec![Entry {
            index,
            term: 1,
            data: vec![1; 9 << 20].into(),
            ..Entry::default()
        }],
        hard_state: None,
    };
    (1..=7).for_each(|index| log.append(&large(index)).unwrap());
    assert!(log.ended.len() >= 3);
    std::fs::remove_file(&log.ended[1].path).unwrap();
    assert!(matches!(
        indexes(dir.path()),
        Err(OpenError::Corrupt { offset: HEADER, .. })
    ));
}

#[test]
fn what_is_too_large_for_one_record_becomes_several() {
    use sampan_state::eraftpb::HardState;
    let dir = tempfile::tempdir().unwrap();
    let mut log = Segments::open(dir.path(), |_| {}).unwrap();
    let entry = |index| Entry {
        index,
        term: 1,
        data: vec![1; 20 << 20].into(),
        ..Entry::default()
    };
    let hard_state = HardState {
        term: 1,
        vote: 1,
        commit: 3,
    };
    log.append(&Persisted {
        entries: vec![entry(1), entry(2), entry(3)],
        hard_state: Some(hard_state.clone()),
    })
    .unwrap();
    let mut records = Vec::new();
    Segments::open(dir.path(), |record| records.push(record)).unwrap();
    let commits: Vec<_> = records
        .iter()
        .map(|r| (r.entries[0].index, r.hard_state.as_ref().unwrap().commit))
        .collect();
    assert_eq!(
        commits,
        [(1, 1), (2, 2), (3, 3)],
        "no record speaks of a commit that is not there yet"
    );
}

#[test]
fn a_large_torn_record_of_random_bytes_is_cut_quickly() {
    let dir = tempfile::tempdir().unwrap();
    let path = filled(dir.path(), 3);
    let mut whole = std::fs::read(&path).unwrap();
    let end = usize::try_from(Segments::open(dir.path(), |_| {}).unwrap().end).unwrap();
    whole.truncate(end);
    let mut dice = 88_172_645_463_325_252_u64;
    for _ in 0..1 << 20 {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        // Many words look like lengths.
        whole.extend_from_slice(&(dice & 0x00ff_ffff_00ff_ffff).to_le_bytes());
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(indexes(dir.path()).unwrap(), [1, 2, 3]);
}
