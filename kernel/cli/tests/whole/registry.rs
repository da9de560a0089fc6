//! Debian's registry on the loopback, and images that Debian's tools made of what Debian's packages installed.
use crate::tools::{busybox, find};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// What this takes.
pub const TOOLS: [&str; 6] = ["docker-registry", "skopeo", "umoci", "nginx", "busybox", "ldd"];

/// A registry with images, ended when dropped.
pub struct Registry {
    child: Child,
    pub host: String,
    dir: tempfile::TempDir,
}

impl Registry {
    /// Starts one, without images and without TLS.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let config = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{host}\", secret: s}}\n",
            dir.path().join("data").display()
        );
        fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Registry { child, host, dir };
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&registry.host).is_err() {
            assert!(Instant::now() < end, "the registry does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    /// Packs what `fill` puts into a root file system, says how it is run, and pushes it.
    pub fn push(&self, name: &str, settings: &[&str], fill: impl FnOnce(&Path)) {
        let layout = self.dir.path().join("layout").display().to_string();
        let bundle = self.dir.path().join("bundle");
        let (image, bundle_text) = (format!("{layout}:app"), bundle.display().to_string());
        let _ = fs::remove_dir_all(&layout);
        run("umoci", &["init", "--layout", &layout]);
        run("umoci", &["new", "--image", &image]);
        run("umoci", &["unpack", "--image", &image, &bundle_text]);
        fill(&bundle.join("rootfs"));
        run("umoci", &["repack", "--image", &image, &bundle_text]);
        let mut arguments = vec!["config", "--image", &image];
        arguments.extend(settings);
        run("umoci", &arguments);
        fs::remove_dir_all(&bundle).unwrap();
        let (from, to) = (format!("oci:{image}"), format!("docker://{}/{name}", self.host));
        let flags = ["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"];
        run("skopeo", &[&flags[..], &[&from, &to]].concat());
    }

    /// nginx as Docker's image has it: in the foreground, with its logs on the container's own output.
    pub fn push_nginx(&self, tag: &str, page: Option<&str>) {
        let settings = [
            "--config.cmd=nginx",
            "--config.cmd=-g",
            "--config.cmd=daemon off;",
            "--config.env=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "--config.exposedports=80/tcp",
            "--config.stopsignal=SIGQUIT",
        ];
        self.push(&format!("nginx:{tag}"), &settings, |root| nginx(root, page));
    }

    /// busybox, whose command is its shell.
    pub fn push_busybox(&self, tag: &str) {
        self.push(&format!("busybox:{tag}"), &["--config.cmd=sh"], busybox);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The installed program, the libraries that it is linked with, and its configuration.
fn nginx(root: &Path, page: Option<&str>) {
    let program = find("nginx").unwrap();
    let put = |from: &Path| {
        let to = root.join(from.strip_prefix("/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    };
    let libraries = run("ldd", &[&program.display().to_string()]);
    libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .for_each(|library| put(Path::new(library)));
    fs::create_dir_all(root.join("usr/sbin")).unwrap();
    fs::copy(&program, root.join("usr/sbin/nginx")).unwrap();
    for file in [
        "/etc/nginx/nginx.conf",
        "/etc/nginx/mime.types",
        "/usr/share/nginx/html/index.html",
    ] {
        put(Path::new(file));
    }
    for dir in ["etc/nginx/conf.d", "var/log/nginx", "var/lib/nginx", "run", "tmp"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let server = "server { listen 80; root /usr/share/nginx/html; }\n";
    fs::write(root.join("etc/nginx/conf.d/default.conf"), server).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:\nwww-data:x:33:33::/:\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nwww-data:x:33:\n").unwrap();
    symlink("/dev/stdout", root.join("var/log/nginx/access.log")).unwrap();
    symlink("/dev/stderr", root.join("var/log/nginx/error.log")).unwrap();
    if let Some(page) = page {
        fs::write(root.join("usr/share/nginx/html/index.html"), page).unwrap();
    }
}

/// Runs to success, for what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}{errors}");
    text
}
