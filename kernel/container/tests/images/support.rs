//! What the tests stand on: temporary stores, images made by umoci, a registry of one's own.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use sampan_container::{Auth, PullOptions, Reference, Store};
use tempfile::TempDir;

/// True if all of these are installed; says so loudly if not.
pub fn have(tools: &[&str]) -> bool {
    let missing: Vec<_> = tools
        .iter()
        .filter(|tool| !Path::new("/usr/bin").join(tool).exists())
        .collect();
    if !missing.is_empty() {
        eprintln!("SKIPPED: needs {missing:?} in /usr/bin");
    }
    missing.is_empty()
}

/// True for root; says so loudly if not.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: needs root");
    }
    root
}

/// Runs to success, or panics with what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}{errors}");
    text.trim().to_owned()
}

pub fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

/// A store in a directory that goes with it.
pub struct Scratch {
    pub dir: TempDir,
    pub store: Store,
}

impl Scratch {
    pub fn new() -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    pub fn path(&self, inner: &str) -> PathBuf {
        self.dir.path().join("store").join(inner)
    }

    /// Entries of a directory of the store.
    pub fn count(&self, inner: &str) -> usize {
        fs::read_dir(self.path(inner)).unwrap().count()
    }

    /// Nothing half-done is left, once downloads that were broken off have noticed.
    pub fn assert_tidy(&self) {
        let began = std::time::Instant::now();
        while self.count("tmp") > 0 {
            assert!(began.elapsed().as_secs() < 10, "leftovers in tmp");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

pub fn unused() -> HashSet<sampan_container::Digest> {
    HashSet::new()
}

pub fn quiet(_: sampan_container::Progress) {}

pub fn options(auth: Auth) -> PullOptions {
    PullOptions {
        auth,
        ..PullOptions::default()
    }
}

/// An OCI layout with the image `app`: busybox and a web page in one layer; a second that deletes and adds.
pub fn make_layout(dir: &Path) -> PathBuf {
    let layout = dir.join("layout");
    let image = format!("{}:app", layout.display());
    let bundle = dir.join("bundle");
    let (layout_text, bundle_text) = (layout.display().to_string(), bundle.display().to_string());
    run("umoci", &["init", "--layout", &layout_text]);
    run("umoci", &["new", "--image", &image]);
    run("umoci", &["unpack", "--image", &image, &bundle_text]);
    let rootfs = bundle.join("rootfs");
    for folder in ["bin", "etc", "www/old", "tmp"] {
        fs::create_dir_all(rootfs.join(folder)).unwrap();
    }
    fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", rootfs.join("bin/sh")).unwrap();
    fs::hard_link(rootfs.join("bin/busybox"), rootfs.join("bin/cat")).unwrap();
    fs::write(
        rootfs.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nwww:x:33:33::/www:/bin/sh\n",
    )
    .unwrap();
    fs::write(rootfs.join("www/index.html"), "hello\n").unwrap();
    fs::write(rootfs.join("www/gone"), "gone\n").unwrap();
    fs::write(rootfs.join("www/old/page"), "old\n").unwrap();
    run("chmod", &["1777", &rootfs.join("tmp").display().to_string()]);
    run("chmod", &["4755", &rootfs.join("bin/busybox").display().to_string()]);
    run(
        "umoci",
        &["repack", "--refresh-bundle", "--image", &image, &bundle_text],
    );
    fs::remove_file(rootfs.join("www/gone")).unwrap();
    fs::remove_dir_all(rootfs.join("www/old")).unwrap();
    fs::write(rootfs.join("www/new"), "new\n").unwrap();
    run("umoci", &["repack", "--image", &image, &bundle_text]);
    let settings = [
        "--config.entrypoint",
        "/bin/busybox",
        "--config.cmd",
        "httpd",
        "--config.user",
        "www",
    ];
    let more = [
        "--config.env",
        "A=b",
        "--config.exposedports",
        "80/tcp",
        "--config.workingdir",
        "/www",
    ];
    let mut arguments = vec!["config", "--image", &image];
    arguments.extend(settings);
    arguments.extend(more);
    run("umoci", &arguments);
    fs::remove_dir_all(bundle).unwrap();
    layout
}

/// Debian's registry on a port of the loopback, killed when dropped.
pub struct Registry {
    child: Child,
    pub host: String,
    pub dir: TempDir,
}

/// How a registry is set up.
#[derive(Default)]
pub struct Setup {
    /// `user:secret` is wanted.
    pub password: bool,
    /// Certificate and key in PEM.
    pub tls: Option<(String, String)>,
}

/// What may be given to skopeo for a registry with a password.
pub const LOGIN: &str = "user:secret";
/// That of `secret`, by bcrypt.
const PASSWORD_FILE: &str = "user:$2b$04$oYaRvkyfXw/mMFoCk4aT7.4Tkw6lEZzXmThn9Mi/PwHR/CQAj1aki\n";

impl Registry {
    pub fn start(setup: &Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: {host}\n  secret: s\n",
            path("data")
        );
        if let Some((certificate, key)) = &setup.tls {
            fs::write(path("cert.pem"), certificate).unwrap();
            fs::write(path("key.pem"), key).unwrap();
            config += &format!(
                "  tls: {{certificate: {}, key: {}}}\n",
                path("cert.pem"),
                path("key.pem")
            );
        }
        if setup.password {
            fs::write(path("htpasswd"), PASSWORD_FILE).unwrap();
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path("htpasswd"));
        }
        fs::write(path("config.yml"), config).unwrap();
        let log = fs::File::create(path("log")).unwrap();
        let child = Command::new("/usr/bin/docker-registry")
            .args(["serve", &path("config.yml")])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let registry = Self { child, host, dir };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&registry.host).is_err() {
            let log = fs::read_to_string(registry.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the registry does not start: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    pub fn image(&self, rest: &str) -> Reference {
        name(&format!("{}/{rest}", self.host))
    }

    /// Copies `app` of a layout to this registry.
    pub fn push(&self, layout: &Path, rest: &str, more: &[&str]) {
        let source = format!("oci:{}:app", layout.display());
        self.push_from(&source, rest, more);
    }

    pub fn push_from(&self, source: &str, rest: &str, more: &[&str]) {
        let target = format!("docker://{}/{rest}", self.host);
        let mut arguments = vec!["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"];
        arguments.extend(more);
        arguments.extend([source, &target]);
        run("skopeo", &arguments);
    }

    pub fn digest_of(&self, rest: &str) -> String {
        let image = format!("docker://{}/{rest}", self.host);
        run(
            "skopeo",
            &["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &image],
        )
    }

    /// Stores a manifest as it is given.
    pub fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, body: &str) {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let (host, length) = (&self.host, body.len());
        write!(
            stream,
            "PUT /v2/{repository}/manifests/{tag} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    /// The file of a blob on the registry's disk.
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.dir
            .path()
            .join("data/docker/registry/v2/blobs/sha256")
            .join(&hex[..2])
            .join(hex)
            .join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
