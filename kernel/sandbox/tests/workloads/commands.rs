//! Commands: arguments, environment, files, network, exit codes, limits.
use crate::{output, process, support};
use sampan_sandbox::{
    Compiler,
    workload::{Mount, Pool, WorkloadEngine, WorkloadSpec, precompile, time_commands},
};
use std::{
    io::{Read, Write},
    net::TcpListener,
    time::{Duration, Instant},
};

fn command(args: &[&str]) -> WorkloadSpec {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    WorkloadSpec {
        module: support::workload("command"),
        args,
        ..WorkloadSpec::default()
    }
}

#[test]
fn it_gets_its_arguments_and_environment_and_no_more() {
    let env = vec!["NAME=value".to_owned(), "EQUALS=a=b".to_owned(), "EMPTY=".to_owned()];
    let (code, out, err) = output(&WorkloadSpec {
        env,
        ..command(&["show", "a b", ""])
    });
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("args [\"a b\", \"\"]\n"), "{out}");
    let given: Vec<&str> = out.lines().filter(|line| line.starts_with("env ")).collect();
    assert_eq!(given, ["env NAME=value", "env EQUALS=a=b", "env EMPTY="]);
    assert!(err.contains("this is stderr\n"), "{err}");
}

#[test]
fn its_exit_code_is_the_process_s() {
    for code in [0, 1] {
        assert_eq!(output(&command(&["exit", &code.to_string()])).0, code);
    }
    // All that Rust asks for of WASI 0.2 is success or failure.
    assert_eq!(output(&command(&["exit", "7"])).0, 1);
    // Others ask for a code.
    let file = tempfile::NamedTempFile::new().unwrap();
    for code in [0, 7, 255] {
        std::fs::write(file.path(), wat::parse_str(exits_with(code)).unwrap()).unwrap();
        let spec = WorkloadSpec {
            module: file.path().to_owned(),
            ..WorkloadSpec::default()
        };
        assert_eq!(output(&spec).0, code);
    }
}

/// Toolchains without components make modules for WASI preview 1.
#[test]
fn a_core_module_is_a_command_too() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\05\00\00\00")
        (data (i32.const 16) "ahoy\0a")
        (func (export "_start")
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))
            (drop (call $args (i32.const 64) (i32.const 68)))
            (call $exit (i32.load (i32.const 64)))))"#;
    let home = tempfile::tempdir().unwrap();
    let (file, cache) = (home.path().join("module"), home.path().join("cache"));
    std::fs::write(&file, wat::parse_str(text).unwrap()).unwrap();
    let spec = WorkloadSpec {
        module: file.clone(),
        cache: Some(cache.clone()),
        args: vec!["a".to_owned(), "b".to_owned()],
        ..WorkloadSpec::default()
    };
    assert!(precompile(&Compiler::Here, &file, None, &cache).unwrap());
    // With the program's own name there are three.
    let (code, out, err) = output(&spec);
    assert!(
        code == 3 && out.contains("ahoy\n") && err.is_empty(),
        "{code} {out} {err}"
    );
    let grows = r#"(module (memory 1) (func (export "_start") (loop
        (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1))) unreachable)))"#;
    std::fs::write(&file, wat::parse_str(grows).unwrap()).unwrap();
    let (code, _, err) = output(&WorkloadSpec {
        memory_limit: Some(8 << 20),
        ..spec
    });
    assert!(code == 137 && err.contains("8 MiB"), "{code} {err}");
}

fn exits_with(code: i32) -> String {
    format!(
        r#"(component
            (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit-with-code" (func (param "status-code" u8)))))
            (core func $exit (canon lower (func $exit "exit-with-code")))
            (core module $m
                (import "exit" "with" (func $exit (param i32)))
                (func (export "run") (result i32) (call $exit (i32.const {code})) unreachable))
            (core instance $c (instantiate $m (with "exit" (instance (export "with" (func $exit))))))
            (func $run (result (result)) (canon lift (core func $c "run")))
            (instance $run (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $run)))"#
    )
}

#[test]
fn a_trap_is_134_and_says_where() {
    let (code, _, err) = output(&command(&["trap"]));
    assert_eq!(code, 134);
    assert!(
        err.contains("as it was told") && err.contains("guest-command.wasm: it trapped: "),
        "{err}"
    );
    assert!(err.contains("wasm backtrace"), "{err}");
}

#[test]
fn memory_over_the_limit_is_137() {
    let (code, _, err) = output(&WorkloadSpec {
        memory_limit: Some(32 << 20),
        ..command(&["memory"])
    });
    assert_eq!(code, 137, "{err}");
    assert!(err.contains("more than the 32 MiB of memory"), "{err}");
    // More than it may have from the first moment on.
    let (code, _, err) = output(&WorkloadSpec {
        memory_limit: Some(64 << 10),
        ..command(&["show"])
    });
    assert_eq!(code, 137, "{err}");
}

#[test]
fn a_deadline_ends_what_loops_and_what_waits() {
    for what in ["loop", "sleep"] {
        let started = Instant::now();
        let (code, _, err) = output(&WorkloadSpec {
            deadline_ms: Some(300),
            ..command(&[what])
        });
        assert_eq!(code, 124, "{what}: {err}");
        assert!(err.contains("it did not end within 300 ms"), "{err}");
        assert!(started.elapsed() >= Duration::from_millis(300));
    }
}

#[test]
fn sigterm_ends_it() {
    use std::os::unix::process::ExitStatusExt;
    for what in ["loop", "sleep"] {
        let (mut command, _file) = process(&command(&[what]));
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(15), "{what}");
    }
}

#[test]
fn it_sees_the_directories_it_is_given_and_no_other() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("file"), "content").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", home.path().join("out")).unwrap();
    let spec = |readonly, args: &[&str]| {
        let mounts = vec![Mount {
            host: home.path().to_owned(),
            guest: "/data".to_owned(),
            readonly,
        }];
        WorkloadSpec {
            mounts,
            ..command(args)
        }
    };
    let out = |spec: &WorkloadSpec| output(spec).1;
    assert!(out(&spec(true, &["read", "/data/file"])).contains("content"));
    assert!(out(&spec(true, &["read", "/data/out"])).contains("no: "));
    assert!(out(&spec(true, &["read", "/data/../etc/passwd"])).contains("no: "));
    assert!(out(&command(&["read", "/etc/passwd"])).contains("no: "));
    assert!(out(&spec(true, &["write", "/data/new"])).contains("no: "));
    assert!(!home.path().join("new").exists());
    assert!(out(&spec(false, &["write", "/data/new"])).contains("yes"));
    assert_eq!(std::fs::read_to_string(home.path().join("new")).unwrap(), "written");
    let gone = Mount {
        host: home.path().join("gone"),
        guest: "/gone".to_owned(),
        readonly: true,
    };
    let (code, _, err) = output(&WorkloadSpec {
        mounts: vec![gone],
        ..command(&["show"])
    });
    assert_eq!(code, 126);
    assert!(
        err.contains("cannot give it the directory") && err.contains("as /gone"),
        "{err}"
    );
}

#[test]
fn it_speaks_over_the_network_it_is_in() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 128];
        let read = stream.read(&mut asked).unwrap();
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello from outside").unwrap();
        String::from_utf8_lossy(&asked[..read]).into_owned()
    });
    let (code, out, err) = output(&command(&["get", &address]));
    assert!(code == 0 && out.contains("hello from outside"), "{out}{err}");
    assert!(server.join().unwrap().starts_with("GET /hello"));
}

#[test]
fn it_is_compiled_ahead_and_then_not_even_read() {
    let home = tempfile::tempdir().unwrap();
    let cache = home.path().join("cache");
    let module = support::workload("command");
    let digest = sampan_sandbox::digest_of(&std::fs::read(&module).unwrap());
    assert!(precompile(&Compiler::Here, &module, Some(&digest), &cache).unwrap());
    assert!(!precompile(&Compiler::Here, &module, Some(&digest), &cache).unwrap());
    let spec = WorkloadSpec {
        module: home.path().join("gone.wasm"),
        digest: Some(digest),
        cache: Some(cache),
        ..command(&["exit", "1"])
    };
    assert_eq!(output(&spec).0, 1);
}

#[test]
fn many_run_in_one_process() {
    let engine = WorkloadEngine::new(None, Pool::of(4)).unwrap();
    let component = std::fs::read(support::workload("command")).unwrap();
    let timing = time_commands(&engine, &component, &[], 50, 2).unwrap();
    assert_eq!(timing.tasks, 50);
    let failed = time_commands(&engine, &component, &["exit".to_owned(), "1".to_owned()], 5, 1);
    assert!(failed.unwrap_err().to_string().contains("exit code 1"));
}

/// Figures for whoever looks (`cargo test -- --ignored --nocapture`).
#[test]
#[ignore = "prints figures"]
fn figures() {
    let started = Instant::now();
    let engine = WorkloadEngine::new(None, Pool::of(0)).unwrap();
    println!("engine with its pool: {:?}", started.elapsed());
    let component = std::fs::read(support::workload("command")).unwrap();
    for threads in [1, 2] {
        let timing = time_commands(&engine, &component, &[], 20_000, threads).unwrap();
        println!(
            "instantiate {:?}, {threads} threads: {:.0} tasks/s",
            timing.instantiate,
            timing.tasks_per_second()
        );
    }
    let home = tempfile::tempdir().unwrap();
    let module = support::workload("command");
    let digest = sampan_sandbox::digest_of(&component);
    let started = Instant::now();
    precompile(&Compiler::Here, &module, Some(&digest), home.path()).unwrap();
    println!("precompile: {:?}", started.elapsed());
    let started = Instant::now();
    let engine = WorkloadEngine::new(Some(home.path().to_owned()), Pool::of(0)).unwrap();
    engine.load(&module, Some(&digest)).unwrap();
    println!("engine and program from the cache: {:?}", started.elapsed());
    let spec = WorkloadSpec {
        digest: Some(digest),
        cache: Some(home.path().to_owned()),
        ..command(&["exit", "0"])
    };
    let started = Instant::now();
    (0..20).for_each(|_| assert_eq!(output(&spec).0, 0));
    println!("process, start to end: {:?}", started.elapsed() / 20);
}
