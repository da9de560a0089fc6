//! Which servers are asked: those of the node's `resolv.conf`, which may change while the node runs.
use crate::net::ResolvConf;
use parking_lot::Mutex;
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long what the file says is taken to be so.
const FRESH: Duration = Duration::from_secs(5);

const PORT: u16 = 53;

/// Where the servers are named.
#[derive(Clone, Debug)]
pub enum Upstream {
    /// A file such as `/etc/resolv.conf`.
    ResolvConf(PathBuf),
    These(Vec<SocketAddr>),
}

#[derive(Debug)]
pub struct Upstreams {
    upstream: Upstream,
    own: Vec<SocketAddr>,
    read: Mutex<Option<(Instant, Arc<Vec<SocketAddr>>)>>,
}

impl Upstreams {
    pub fn new(upstream: Upstream, own: Vec<SocketAddr>) -> Self {
        Upstreams {
            upstream,
            own,
            read: Mutex::new(None),
        }
    }

    /// Those to ask now, none of them this one itself.
    pub fn servers(&self) -> Arc<Vec<SocketAddr>> {
        let mut read = self.read.lock();
        if let Some((at, servers)) = &*read
            && at.elapsed() < FRESH
        {
            return servers.clone();
        }
        let mut servers = match &self.upstream {
            Upstream::These(servers) => servers.clone(),
            Upstream::ResolvConf(path) => {
                let named = ResolvConf::read(path).servers;
                let parsed = named.iter().filter_map(|server| server.parse::<IpAddr>().ok());
                parsed.map(|address| SocketAddr::new(address, PORT)).collect()
            }
        };
        servers.retain(|server| !self.own.contains(server));
        let servers = Arc::new(servers);
        *read = Some((Instant::now(), servers.clone()));
        servers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_itself() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("resolv.conf");
        std::fs::write(
            &file,
            "nameserver 10.42.0.1\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n",
        )
        .unwrap();
        let own = "10.42.0.1:53".parse().unwrap();
        let upstreams = Upstreams::new(Upstream::ResolvConf(file), vec![own]);
        assert_eq!(*upstreams.servers(), ["192.0.2.53:53".parse().unwrap()]);
        let missing = Upstream::ResolvConf(dir.path().join("none"));
        assert!(Upstreams::new(missing, vec![own]).servers().is_empty());
    }
}
