//! A control plane in a temporary directory, and the command beside it.
#![allow(dead_code)] // Of the two test programs that include this, neither needs all of it.
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Nothing here should take so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The deployment of the Kubernetes tutorials.
pub const NGINX: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: nginx-deployment
  labels:
    app: nginx
spec:
  replicas: 3
  selector:
    matchLabels:
      app: nginx
  template:
    metadata:
      labels:
        app: nginx
    spec:
      containers:
      - name: nginx
        image: nginx:1.14.2
        ports:
        - containerPort: 80
";

/// A control plane that ends with the test.
pub struct Stage {
    pub dir: tempfile::TempDir,
    /// Further arguments of `up`.
    args: Vec<String>,
    up: Child,
}

/// What a command did.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Stage {
    /// Starts a control plane on a free port.
    pub fn new() -> Self {
        Self::with(tempfile::tempdir().unwrap(), &["--no-agent"])
    }

    /// Starts a cluster on a free port.
    pub fn with(dir: tempfile::TempDir, args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let up = start(dir.path(), &args);
        Stage { dir, args, up }
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &str) -> Done {
        self.run_with(&words(args), "", &[])
    }

    /// Runs a command with what comes from its stdin.
    pub fn feed(&self, args: &str, stdin: &str) -> Done {
        self.run_with(&words(args), stdin, &[])
    }

    pub fn run_with(&self, args: &[&str], stdin: &str, env: &[(&str, &str)]) -> Done {
        let mut command = sampan(self.dir.path());
        command.args(args).envs(env.iter().copied());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Done {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Runs a command that must succeed, for what it prints.
    #[track_caller]
    pub fn ok(&self, args: &str) -> String {
        let done = self.run(args);
        assert_eq!(done.code, 0, "sampan {args}: {done:?}");
        done.out
    }

    /// Runs a command that must be refused, for what it says on stderr.
    #[track_caller]
    pub fn refused(&self, args: &str) -> String {
        let done = self.run(args);
        assert_eq!(done.code, 1, "sampan {args}: {done:?}");
        done.err
    }

    /// Runs a command again until it prints what is wanted.
    #[track_caller]
    pub fn until(&self, args: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let done = self.run(args);
            if done.code == 0 && wanted(&done.out) {
                return done.out;
            }
            assert!(
                Instant::now() < end,
                "sampan {args} did not print what was wanted: {done:?}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Writes a file that commands can name by its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Ends the control plane by a signal, for its exit code.
    pub fn stop(&mut self) -> i32 {
        let pid = rustix::process::Pid::from_child(&self.up);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.up.wait().unwrap().code().unwrap_or(-1)
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.up.kill().unwrap();
        self.up.wait().unwrap();
    }

    /// Starts it again on the same data.
    pub fn again(&mut self) {
        self.up = start(self.dir.path(), &self.args);
    }

    /// The process of the control plane.
    pub fn pid(&self) -> u32 {
        self.up.id()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

/// The command, with contexts of its own.
pub fn sampan(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sampan"));
    command
        .env("SAMPAN_CONFIG", config(dir))
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1");
    command
}

fn config(dir: &Path) -> PathBuf {
    dir.join("config")
}

/// `sampan up` without a node, on a port that it chooses.
pub fn up(dir: &Path) -> Command {
    let mut command = up_with(dir);
    command.arg("--no-agent");
    command
}

fn up_with(dir: &Path) -> Command {
    let mut command = sampan(dir);
    command
        .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.join("data"));
    command
}

fn start(dir: &Path, args: &[String]) -> Child {
    let mut child = up_with(dir).args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().expect("the control plane says that it is ready").unwrap();
    assert!(first.contains("is ready on https://127.0.0.1:"), "{first}");
    // What it says later must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

/// Words between spaces; a test that needs a space in a word has `run_with`.
fn words(args: &str) -> Vec<&str> {
    args.split_whitespace().collect()
}
