//! A registry's HTTP interface, as much of it as pulling needs. Bodies are bounded while they are read, credentials go
//! to nobody but the registry and its token service, and each failure says whether another try may help.

mod challenge;
mod failure;

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RANGE, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, StatusCode};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::auth::{Credentials, Secret};
use crate::digest::Digest;
use crate::error::{ImageError, Result, blocking};
use crate::manifest::{DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, MAX_DOCUMENT, OCI_INDEX, OCI_MANIFEST};
use crate::pull::PullOptions;
use crate::reference::Reference;
use challenge::Challenge;
pub(crate) use failure::{Backoff, Failure};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a byte.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// For a document as a whole.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a token's answer or an error's.
const MAX_ANSWER: u64 = 256 << 10;

/// A registry, for the sake of one image.
pub(crate) struct Registry {
    client: Client,
    /// `https://host:port`.
    base: String,
    image: Reference,
    credentials: Credentials,
    /// Found out with the first refusal, and again when it has expired.
    authorization: Mutex<Option<HeaderValue>>,
}

impl Registry {
    /// Settles how the registry is spoken to.
    pub(crate) async fn connect(image: &Reference, options: &PullOptions) -> Result<Self> {
        let (auth, name) = (options.auth.clone(), image.clone());
        let credentials = blocking(move || auth.find(&name)).await?;
        let host = image.host();
        let plain = if options
            .plain_http
            .iter()
            .any(|plain| plain == host || plain == image.registry())
        {
            true
        } else {
            image.is_loopback() && speaks_plain_http(host).await?
        };
        let client = if plain {
            bare_client()?
        } else {
            tls_client(image, options).await?
        };
        let base = format!("{}://{host}", if plain { "http" } else { "https" });
        Ok(Self {
            client,
            base,
            image: image.clone(),
            credentials,
            authorization: Mutex::default(),
        })
    }

    /// Host and port, for messages.
    pub(crate) fn name(&self) -> &str {
        self.image.registry()
    }

    /// The manifest or index behind a tag or digest, once. Its digest was checked if one was asked for.
    pub(crate) async fn document(&self, of: &str) -> Result<(Vec<u8>, Digest), Failure> {
        let url = format!("{}/v2/{}/manifests/{of}", self.base, self.image.repository());
        let accept = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST].join(", ");
        let fetch = async {
            let response = self.get(&url, &[(ACCEPT, accept)]).await?;
            let promised = response.headers().get("docker-content-digest").cloned();
            let what = format!("manifest of {}", self.image.familiar());
            let body = self.body(response, MAX_DOCUMENT, &what).await?;
            Ok::<_, Failure>((body, promised, what))
        };
        let (body, promised, what) = match timeout(DOCUMENT_TIMEOUT, fetch).await {
            Ok(fetched) => fetched?,
            Err(_) => return Err(self.unreachable("it takes too long to answer").transient()),
        };
        let actual = Digest::of(&body);
        let promised = promised
            .as_ref()
            .and_then(|promised| promised.to_str().ok()?.parse().ok());
        let asked: Option<Digest> = of.parse().ok();
        if let Some(expected) = asked.or(promised)
            && expected != actual
        {
            let what = format!("{what} in registry {}", self.name());
            let (expected, actual) = (expected.to_string(), actual.to_string());
            return Err(ImageError::DigestMismatch { what, expected, actual }.into());
        }
        Ok((body, actual))
    }

    /// A blob from an offset on; tells where the answer really begins. Nothing of it is checked yet.
    pub(crate) async fn blob(&self, blob: &Descriptor, offset: u64) -> Result<(Response, u64), Failure> {
        let url = format!("{}/v2/{}/blobs/{}", self.base, self.image.repository(), blob.digest);
        let mut headers = vec![(ACCEPT, "application/octet-stream, */*".to_owned())];
        if offset > 0 {
            headers.push((RANGE, format!("bytes={offset}-")));
        }
        let response = self.get(&url, &headers).await?;
        let begins = if response.status() == StatusCode::PARTIAL_CONTENT {
            offset
        } else {
            0
        };
        Ok((response, begins))
    }

    /// What broke off while a body was read.
    pub(crate) fn interrupted(&self, error: &reqwest::Error) -> Failure {
        failure::of_transport(self.name(), error)
    }

    pub(crate) fn unreachable(&self, reason: &str) -> ImageError {
        ImageError::Unreachable {
            registry: self.name().to_owned(),
            reason: reason.to_owned(),
        }
    }

    /// Sends, authorizes if the registry asks for it, and sends again.
    async fn get(&self, url: &str, headers: &[(reqwest::header::HeaderName, String)]) -> Result<Response, Failure> {
        let mut refused = false;
        loop {
            let authorization = self.authorization.lock().await.clone();
            let mut request = self.client.get(url);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            if let Some(value) = &authorization {
                request = request.header(AUTHORIZATION, value.clone());
            }
            let response = request.send().await.map_err(|error| self.interrupted(&error))?;
            if response.status().is_success() {
                return Ok(response);
            }
            if response.status() == StatusCode::UNAUTHORIZED && !refused {
                refused = true;
                if self.authorize(response.headers(), authorization).await? {
                    continue;
                }
            }
            return Err(self.refusal(response).await);
        }
    }

    /// Answers a challenge. False: there is nothing to answer with.
    async fn authorize(&self, headers: &HeaderMap, stale: Option<HeaderValue>) -> Result<bool, Failure> {
        let mut current = self.authorization.lock().await;
        if *current != stale {
            // Another request was faster.
            return Ok(current.is_some());
        }
        let challenges = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let value = match (Challenge::choose(challenges), &self.credentials.secret) {
            (Some(Challenge::Basic), Some(Secret::Basic { user, password })) => challenge::basic(user, password),
            (Some(Challenge::Bearer { .. }), Some(Secret::Bearer(token))) => challenge::bearer(token),
            (Some(Challenge::Bearer { realm, service }), _) => Some(self.token(&realm, service.as_deref()).await?),
            _ => None,
        };
        let useful = value.is_some() && value != stale;
        *current = value;
        Ok(useful)
    }

    /// Asks the token service that the registry names.
    async fn token(&self, realm: &str, service: Option<&str>) -> Result<HeaderValue, Failure> {
        let malformed = |reason: &str| {
            ImageError::malformed(format!("token service of registry {}", self.name()), reason.to_owned())
        };
        let mut url = reqwest::Url::parse(realm).map_err(|_| malformed("its address is not a URL"))?;
        let secure = url.scheme() == "https" || self.base.starts_with("http://");
        if !secure || !matches!(url.scheme(), "http" | "https") {
            return Err(malformed("it is not reached over TLS, though the registry is").into());
        }
        if let Some(service) = service {
            url.query_pairs_mut().append_pair("service", service);
        }
        url.query_pairs_mut()
            .append_pair("scope", &format!("repository:{}:pull", self.image.repository()));
        let mut request = self.client.get(url);
        if let Some(Secret::Basic { user, password }) = &self.credentials.secret {
            request = request.basic_auth(user, Some(password));
        }
        let answer = async {
            let response = request.send().await.map_err(|error| self.interrupted(&error))?;
            if !response.status().is_success() {
                return Err(self.refusal(response).await);
            }
            self.body(response, MAX_ANSWER, "the answer of the token service").await
        };
        let body = match timeout(DOCUMENT_TIMEOUT, answer).await {
            Ok(body) => body?,
            Err(_) => {
                return Err(self
                    .unreachable("its token service takes too long to answer")
                    .transient());
            }
        };
        let token = challenge::token_of(&body).ok_or_else(|| malformed("its answer has no token"))?;
        Ok(challenge::bearer(&token).ok_or_else(|| malformed("its token is not text"))?)
    }

    /// Reads a body of at most this many bytes.
    async fn body(&self, mut response: Response, limit: u64, what: &str) -> Result<Vec<u8>, Failure> {
        let too_large = || ImageError::too_large(what, format!("{} KiB", limit >> 10));
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_large().into());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.interrupted(&error))? {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(too_large().into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn refusal(&self, response: Response) -> Failure {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = timeout(CONNECT_TIMEOUT, self.body(response, MAX_ANSWER, "error")).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        failure::of_status(&self.image, &self.credentials, status, &headers, &body)
    }
}

/// Asks without credentials. What does not answer a plain request as a registry would is taken to speak TLS.
async fn speaks_plain_http(host: &str) -> Result<bool> {
    match bare_client()?.get(format!("http://{host}/v2/")).send().await {
        Ok(response) => Ok(response.status() != StatusCode::BAD_REQUEST),
        Err(error) => Ok(error.is_connect()),
    }
}

fn builder() -> reqwest::ClientBuilder {
    let policy = Policy::custom(|attempt| {
        let downgraded = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
        if downgraded && attempt.url().scheme() != "https" {
            return attempt.error("redirected away from TLS");
        }
        if attempt.previous().len() > 10 {
            attempt.error("redirected too often")
        } else {
            attempt.follow()
        }
    });
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(policy)
        .user_agent(concat!("sampan/", env!("CARGO_PKG_VERSION")))
}

fn unusable(error: &reqwest::Error) -> ImageError {
    ImageError::malformed("HTTP client", failure::innermost(error))
}

/// For registries without TLS: nobody is trusted, and no proxy stands before the loopback.
fn bare_client() -> Result<Client> {
    builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .map_err(|error| unusable(&error))
}

async fn tls_client(image: &Reference, options: &PullOptions) -> Result<Client> {
    let (paths, loopback) = (options.extra_ca.clone(), image.is_loopback());
    blocking(move || {
        let mut extra = Vec::new();
        for path in &paths {
            let pem = std::fs::read(path).map_err(|error| ImageError::io("reading certificates", path, error))?;
            let invalid = |reason: String| ImageError::malformed(format!("certificates {}", path.display()), reason);
            let found = Certificate::from_pem_bundle(&pem).map_err(|error| invalid(failure::innermost(&error)))?;
            if found.is_empty() {
                return Err(invalid("there is none in the file; expected PEM".to_owned()));
            }
            extra.extend(found);
        }
        let builder = || if loopback { builder().no_proxy() } else { builder() };
        // A host without certificates of its own still has the given ones.
        let client = builder().tls_certs_merge(extra.clone()).build();
        client
            .or_else(|_| builder().tls_certs_only(extra).build())
            .map_err(|error| unusable(&error))
    })
    .await
}
