//! What is kept, what is trusted, and what goes.
use super::*;
use std::os::unix::fs::PermissionsExt;

const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

fn cache(dir: &Path) -> Cache {
    Cache::new(Some(dir.to_owned()), Compiler::Here, Purpose::Plugin)
}

fn get(engine: &Engine, dir: &Path) {
    cache(dir)
        .get::<Component>(engine, EMPTY, &digest_of(EMPTY))
        .map(drop)
        .unwrap();
}

fn is_kept(engine: &Engine, dir: &Path) -> bool {
    cache(dir).kept::<Component>(engine, &digest_of(EMPTY)).is_some()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_was_compiled_is_kept_and_found_by_its_digest() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("cache");
    let engine = Engine::default();
    assert!(!is_kept(&engine, &dir));
    get(&engine, &dir);
    assert!(is_kept(&engine, &dir));
    assert_eq!(files(&dir).len(), 1);
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&files(&dir)[0]).unwrap().mode() & 0o777, 0o600);
    assert!(
        cache(&dir)
            .kept::<Component>(&engine, "sha256:../../../etc/passwd")
            .is_none()
    );
}

#[test]
fn a_module_is_kept_and_is_no_component() {
    let home = tempfile::tempdir().unwrap();
    let (engine, empty) = (Engine::default(), b"\0asm\x01\0\0\0");
    let digest = digest_of(empty);
    let cache = cache(home.path());
    cache.get::<Module>(&engine, empty, &digest).map(drop).unwrap();
    assert!(cache.kept::<Module>(&engine, &digest).is_some());
    assert!(cache.kept::<Component>(&engine, &digest).is_none());
}

#[test]
fn what_others_can_write_is_not_run() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("cache");
    let engine = Engine::default();
    get(&engine, &dir);
    let file = files(&dir).remove(0);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(!is_kept(&engine, &dir));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(!is_kept(&engine, &dir));
    // It still runs, and nothing is put there.
    fs::remove_file(&file).unwrap();
    get(&engine, &dir);
    assert!(files(&dir).is_empty());
}

#[test]
fn a_torn_file_is_compiled_again() {
    let home = tempfile::tempdir().unwrap();
    let engine = Engine::default();
    get(&engine, home.path());
    let file = files(home.path()).remove(0);
    fs::write(&file, b"\x7fELF").unwrap();
    get(&engine, home.path());
    assert!(is_kept(&engine, home.path()));
}

#[test]
fn many_at_once_do_not_disturb_each_other() {
    let home = tempfile::tempdir().unwrap();
    let engine = Engine::default();
    std::thread::scope(|scope| {
        (0..8).for_each(|_| {
            scope.spawn(|| get(&engine, home.path()));
        });
    });
    assert_eq!(files(home.path()).len(), 1);
    assert!(is_kept(&engine, home.path()));
}

#[test]
fn what_a_killed_process_left_aside_is_swept_and_what_is_being_written_is_not() {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let written = home.path().join("a.1-0.tmp");
    let writing = set_aside(home.path(), &written, MOST).unwrap();
    // Its lock has ended with its writer.
    fs::write(home.path().join("b.2-0.tmp"), b"half").unwrap();
    get(&Engine::default(), home.path());
    assert_eq!(files(home.path()).len(), 2, "{:?}", files(home.path()));
    assert!(written.exists());
    drop(writing);
    drop(cache(home.path()));
    assert!(!written.exists());
}

#[test]
fn what_was_used_longest_ago_makes_room() {
    let home = tempfile::tempdir().unwrap();
    let engine = Engine::default();
    // Of one byte in a custom section each.
    let modules: Vec<Vec<u8>> = (0..3u8)
        .map(|n| [b"\0asm\x01\0\0\0\0\x03\x01x".as_slice(), &[n]].concat())
        .collect();
    let digests: Vec<String> = modules.iter().map(|bytes| digest_of(bytes)).collect();
    let mut cache = cache(home.path());
    let get = |cache: &Cache, n: usize| {
        cache
            .get::<Module>(&engine, &modules[n], &digests[n])
            .map(drop)
            .unwrap();
    };
    let there = |n: usize| path_of(&engine, &digests[n], home.path()).unwrap().exists();
    get(&cache, 0);
    cache.most = 5 * fs::metadata(&files(home.path())[0]).unwrap().len() / 2;
    get(&cache, 1);
    assert!(there(0) && there(1));
    // The first is in use, and used since.
    let in_use = cache.kept::<Module>(&engine, &digests[0]);
    get(&cache, 2);
    assert_eq!([there(0), there(1), there(2)], [true, false, true]);
    get(&cache, 1);
    assert_eq!([there(0), there(1), there(2)], [false, true, true]);
    drop(in_use);
}
