//! The ingress: what comes from outside by HTTP goes to the pods that Ingresses name.
//!
//! Which request goes where is a plugin's decision: it fills a routing table (`wit/ingress`), the kernel checks it, and
//! [`Table::of`] makes it one that is matched fast. Here are the bytes. To have it, [`Ingress::start`] it once, hand it a table
//! with [`Ingress::set_table`] whenever there is another, and with [`Ingress::set_certificates`] what the Secrets hold that the
//! table names ([`Table::secrets`]). Both are taken between two requests: connections and requests under way notice nothing.
//!
//! Inside: `listen` has connections, `asked` reads what a request is for, [`table`] finds who answers, `headers` makes heads
//! ready, `proxy` leads a request through all that, `upstream` has the connections to one backend, `tunnel` those that
//! were upgraded, `certificates` what is shown.
mod answer;
mod asked;
mod body;
mod certificates;
mod figures;
mod filter;
mod headers;
mod listen;
mod live;
mod progress;
mod proxy;
pub mod table;
mod tunnel;
mod upstream;

pub use answer::failed_filter;
pub use body::Body;
pub use certificates::CertificateError;
pub use filter::{Filters, NoFilters, Onward};
pub use table::Table;

use figures::Figures;
use live::Live;
use parking_lot::{Mutex, RwLock};
use proxy::Proxy;
use sampan_sandbox::ingress::Secret;
use sampan_tls::KeyPair;
use std::{collections::BTreeMap, fmt, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How often connections to backends are looked through for those that nobody needs.
const SWEPT_EVERY: Duration = Duration::from_secs(1);

/// How long something may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// A handshake, the head of a request, and with it the time between two requests of HTTP/1.1.
    pub header: Duration,
    /// How long nothing may move on a connection, upgraded or not.
    pub idle: Duration,
    /// To reach a backend.
    pub connect: Duration,
    /// Until a backend answers, counted from the last piece of the request.
    pub answer: Duration,
    /// For requests under way when the node stops.
    pub drain: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Times {
            header: Duration::from_secs(20),
            idle: Duration::from_secs(180),
            connect: Duration::from_secs(3),
            answer: Duration::from_secs(60),
            drain: Duration::from_secs(25),
        }
    }
}

/// How much is taken.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the head of a request.
    pub head: usize,
    /// Headers in it, in HTTP/1.1.
    pub headers: usize,
    /// Connections at a time.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head: 16 << 10,
            headers: 100,
            connections: 10_000,
        }
    }
}

/// How the ingress is to be.
#[derive(Clone)]
pub struct IngressConfig {
    /// Where HTTP is served, and where HTTP over TLS.
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    pub times: Times,
    pub limits: Limits,
    /// The components that routes may name.
    pub filters: Arc<dyn Filters>,
}

impl IngressConfig {
    /// With the usual limits, and no filters.
    pub fn new(http: Vec<SocketAddr>, https: Vec<SocketAddr>) -> Self {
        IngressConfig {
            http,
            https,
            times: Times::default(),
            limits: Limits::default(),
            filters: Arc::new(NoFilters),
        }
    }
}

impl fmt::Debug for IngressConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngressConfig")
            .field("http", &self.http)
            .field("https", &self.https)
            .finish_non_exhaustive()
    }
}

/// Why there is no ingress.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "the ingress cannot listen on {address}: {source}: if another server has that port, stop it or give the ingress \
         another"
    )]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the ingress cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The running ingress. When it is dropped, connections end at once; [`Ingress::shutdown`] lets them finish.
pub struct Ingress {
    proxy: Arc<Proxy>,
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    /// Held while something else is made ready, for which nobody waits.
    changing: Mutex<()>,
}

impl Ingress {
    /// Starts it, with an empty table. Call within a tokio runtime.
    ///
    /// # Errors
    /// If an address cannot be had.
    pub fn start(config: IngressConfig) -> Result<Ingress, StartError> {
        let proxy = Arc::new(Proxy {
            live: RwLock::default(),
            keys: RwLock::default(),
            figures: Figures::default(),
            times: config.times,
            filters: config.filters,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            stopping: CancellationToken::new(),
        });
        let acceptor: tokio_rustls::TlsAcceptor = certificates::server_config(&proxy)?.into();
        let bind = |address: &SocketAddr| {
            let address = *address;
            let failed = |source| StartError::Listen { address, source };
            let listener = listen::bind(address).map_err(failed)?;
            let own = listener.local_addr().map_err(failed)?;
            Ok::<_, StartError>((listener, own))
        };
        let plain: Vec<_> = config.http.iter().map(bind).collect::<Result<_, _>>()?;
        let secure: Vec<_> = config.https.iter().map(bind).collect::<Result<_, _>>()?;
        let addresses = |bound: &[(_, SocketAddr)]| bound.iter().map(|(_, address)| *address).collect();
        let (http, https) = (addresses(&plain), addresses(&secure));
        let places = Arc::new(Semaphore::new(config.limits.connections));
        let plain = plain.into_iter().map(|(listener, _)| (listener, None));
        let secure = secure
            .into_iter()
            .map(|(listener, _)| (listener, Some(acceptor.clone())));
        for (listener, acceptor) in plain.chain(secure) {
            let listening = listen::listen(proxy.clone(), listener, acceptor, config.limits, places.clone());
            proxy.tasks.spawn(listening);
        }
        proxy.tasks.spawn(sweep(proxy.clone()));
        Ok(Ingress {
            proxy,
            http,
            https,
            changing: Mutex::new(()),
        })
    }

    /// Where HTTP is served.
    pub fn http_addresses(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Where HTTP over TLS is served.
    pub fn https_addresses(&self) -> &[SocketAddr] {
        &self.https
    }

    /// From now on requests are answered by this table; those under way end with the one that they began with.
    pub fn set_table(&self, table: Arc<Table>) {
        let _one_at_a_time = self.changing.lock();
        let before = self.proxy.live.read().clone();
        let next = Arc::new(Live::new(table, &before));
        *self.proxy.live.write() = next;
    }

    /// From now on handshakes show these certificates, all there are: what is in no Secret here is shown no more. Of those that
    /// cannot be shown, and why, the one before stays.
    pub fn set_certificates(&self, pairs: &BTreeMap<Secret, KeyPair>) -> Vec<CertificateError> {
        let _one_at_a_time = self.changing.lock();
        let before = self.proxy.keys.read().clone();
        let (keys, errors) = certificates::read(pairs, &before);
        *self.proxy.keys.write() = Arc::new(keys);
        errors
    }

    /// Counters since the start, with the names and labels that Prometheus has for them.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        self.proxy.figures.all()
    }

    /// Takes no more connections and requests, lets those under way finish for a while, and ends the others.
    pub async fn shutdown(self) {
        self.proxy.closing.cancel();
        self.proxy.tasks.close();
        if timeout(self.proxy.times.drain, self.proxy.tasks.wait()).await.is_err() {
            self.proxy.stopping.cancel();
            self.proxy.tasks.wait().await;
        }
    }
}

impl Drop for Ingress {
    fn drop(&mut self) {
        self.proxy.closing.cancel();
        self.proxy.stopping.cancel();
    }
}

/// Lets connections to backends go that nobody needs.
async fn sweep(proxy: Arc<Proxy>) {
    loop {
        tokio::select! {
            () = proxy.closing.cancelled() => return,
            () = tokio::time::sleep(SWEPT_EVERY) => {}
        }
        let live = proxy.live.read().clone();
        live.sweep();
    }
}
