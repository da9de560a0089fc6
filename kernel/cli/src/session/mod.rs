//! A session: the client's side of the protocol, with deadlines, retries where they are safe, and errors that say what
//! to do.
mod connect;
mod shown;
mod watcher;
mod writer;

pub use connect::{channel, credentials};
pub use shown::Shown;
pub use watcher::{Seen, Watcher};
pub use writer::Writer;

use crate::{contexts::Access, doc::Doc, failure};
use anyhow::Result;
use sampan_api::{
    Key, Reason,
    rpc::{
        self, WriteResponse, certificates_client::CertificatesClient, cluster_client::ClusterClient,
        membership_client::MembershipClient, objects_client::ObjectsClient, plugins_client::PluginsClient,
        runtime_client::RuntimeClient, write_response::Outcome,
    },
};
use sampan_node::servers::Servers;
use serde_json::Value;
use std::{
    future::Future,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tonic::{Response, Status, transport::Channel};

/// What one answer may take: a page of the largest objects. Bytes.
const MAX_ANSWER: usize = 1 << 30;

/// Objects asked for at a time, as kubectl does.
pub const PAGE: u32 = 500;

/// How often a call that may be repeated is repeated.
const RETRIES: u32 = 4;

/// An open session with a cluster.
#[derive(Clone)]
pub struct Session {
    access: Arc<Access>,
    servers: Servers,
    /// The connection to one of them.
    channel: Arc<RwLock<Channel>>,
    shown: Arc<Shown>,
    /// `https://127.0.0.1:7443`
    pub server: String,
    /// The namespace of objects that name none.
    pub namespace: String,
    /// Whether the user named it on the command line.
    pub namespace_given: bool,
    timeout: Duration,
}

/// Objects, and the revision they were seen at.
#[derive(Default)]
pub struct Listing {
    pub objects: Vec<Doc>,
    pub revision: u64,
}

/// How a manifest is to be taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Decided by the server, and not done.
    pub dry_run: bool,
    /// What becomes of fields that are not known.
    pub unknown: rpc::FieldValidation,
}

/// What came of a write.
#[derive(Clone, Debug)]
pub struct Written {
    pub object: Option<Doc>,
    pub outcome: Outcome,
    pub warnings: Vec<String>,
}

impl Session {
    /// Opens a session; the connection is made by the first call.
    ///
    /// # Errors
    /// If the address or the certificates cannot be read.
    pub fn open(access: &Access, timeout: Duration) -> Result<Self> {
        let servers = Servers::parse(&access.server);
        Ok(Session {
            channel: Arc::new(RwLock::new(connect::channel_to(access, servers.clone())?)),
            access: Arc::new(access.clone()),
            servers,
            shown: Arc::new(Shown::of(access)?),
            server: access.server.clone(),
            namespace: access.namespace.clone(),
            namespace_given: false,
            timeout,
        })
    }

    /// The same with more patience, for what may take the server long.
    #[must_use]
    pub fn patient(&self, at_least: Duration) -> Self {
        Session {
            timeout: self.timeout.max(at_least),
            ..self.clone()
        }
    }

    fn channel(&self) -> Channel {
        self.channel.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes to another server, if there is one: this one does not answer, or says that it cannot.
    fn turn(&self) {
        if self.servers.all().len() < 2 {
            return;
        }
        if let Ok(channel) = connect::channel_to(&self.access, self.servers.clone()) {
            *self.channel.write().unwrap_or_else(PoisonError::into_inner) = channel;
        }
    }

    /// The context that it was opened with.
    pub fn context(&self) -> &str {
        &self.access.context
    }

    /// What it shows of its user.
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    pub fn certificates(&self) -> CertificatesClient<Channel> {
        CertificatesClient::new(self.channel())
    }

    pub fn objects(&self) -> ObjectsClient<Channel> {
        ObjectsClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER)
    }

    pub fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER)
    }

    pub fn membership(&self) -> MembershipClient<Channel> {
        MembershipClient::new(self.channel())
    }

    pub fn plugins(&self) -> PluginsClient<Channel> {
        PluginsClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER)
    }

    pub fn runtime(&self) -> RuntimeClient<Channel> {
        RuntimeClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER)
    }

    /// An error of a call, in the user's words.
    pub fn error(&self, status: Status) -> anyhow::Error {
        connect::explain(status, &self.server, &self.shown)
    }

    /// Makes a call once.
    ///
    /// # Errors
    /// The server's, or that it cannot be reached or did not answer in time.
    pub async fn once<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.error(status)),
            Err(_) => anyhow::bail!(
                "no answer from {} within {:?} (--request-timeout)",
                self.server,
                self.timeout
            ),
        }
    }

    /// Makes a call that may be made twice, again if the server is not there for a moment, at the next where there is one.
    ///
    /// # Errors
    /// As [`Session::once`].
    pub async fn again<T, F>(&self, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut pause = Duration::from_millis(50);
        for _ in 1..RETRIES {
            match self.once(call()).await {
                Err(error) if failure::reason(&error) == Some(Reason::Unavailable) => {
                    tracing::debug!(%error, ?pause, "trying again");
                    self.turn();
                    tokio::time::sleep(pause).await;
                    pause *= 3;
                }
                other => return other,
            }
        }
        self.once(call()).await
    }

    /// # Errors
    /// `NotFound`, or as [`Session::once`].
    pub async fn get(&self, key: &Key) -> Result<Doc> {
        let request = rpc::GetRequest {
            key: Some(key.into()),
            stale: false,
        };
        let request = &request;
        let object = self
            .again(|| async { self.objects().get(request.clone()).await })
            .await?;
        Ok(Doc::from_message(&object)?)
    }

    /// Everything selected, a page at a time.
    ///
    /// # Errors
    /// As [`Session::once`].
    pub async fn list(&self, selection: &rpc::Selection) -> Result<Listing> {
        match self.pages(selection, PAGE).await {
            // The pages' revision was compacted away meanwhile: one page of everything cannot be.
            Err(error) if failure::reason(&error) == Some(Reason::Expired) => self.pages(selection, 0).await,
            other => other,
        }
    }

    async fn pages(&self, selection: &rpc::Selection, limit: u32) -> Result<Listing> {
        let mut listing = Listing::default();
        let mut request = rpc::ListRequest {
            selection: Some(selection.clone()),
            limit,
            ..rpc::ListRequest::default()
        };
        loop {
            let page = self
                .again(|| async { self.objects().list(request.clone()).await })
                .await?;
            for object in &page.objects {
                listing.objects.push(Doc::from_message(object)?);
            }
            listing.revision = page.revision;
            if page.continue_token.is_empty() {
                return Ok(listing);
            }
            request.continue_token = page.continue_token;
        }
    }

    /// Changes after `revision`; with 0, first what there is.
    pub fn watch(&self, selection: rpc::Selection, revision: u64) -> Watcher {
        Watcher::new(self.clone(), selection, revision)
    }

    /// A way to write plans for many tasks at a time.
    pub fn writer(&self) -> Writer {
        Writer::new(self.clone())
    }

    /// # Errors
    /// As [`Session::once`]; a create is never repeated by itself.
    pub async fn create(&self, value: &Value, asked: Asked) -> Result<Written> {
        let default_namespace = self.namespace.clone();
        let request = rpc::CreateRequest {
            json: value.to_string().into(),
            default_namespace,
            dry_run: asked.dry_run,
            field_validation: asked.unknown.into(),
        };
        Written::of(self.once(async { self.objects().create(request).await }).await?)
    }

    /// # Errors
    /// As [`Session::once`].
    pub async fn replace(&self, value: &Value, asked: Asked) -> Result<Written> {
        let default_namespace = self.namespace.clone();
        let json = value.to_string().into();
        let request = rpc::ReplaceRequest {
            json,
            default_namespace,
            status: false,
            dry_run: asked.dry_run,
            field_validation: asked.unknown.into(),
        };
        Written::of(self.once(async { self.objects().replace(request).await }).await?)
    }

    /// # Errors
    /// As [`Session::once`].
    pub async fn apply(&self, value: &Value, asked: Asked) -> Result<Written> {
        let default_namespace = self.namespace.clone();
        let request = rpc::ApplyRequest {
            json: value.to_string().into(),
            default_namespace,
            dry_run: asked.dry_run,
            field_validation: asked.unknown.into(),
        };
        let request = &request;
        Written::of(
            self.again(|| async { self.objects().apply(request.clone()).await })
                .await?,
        )
    }

    /// # Errors
    /// As [`Session::once`].
    pub async fn patch(&self, request: rpc::PatchRequest) -> Result<Written> {
        Written::of(self.once(async { self.objects().patch(request).await }).await?)
    }

    /// A merge patch of all but status.
    ///
    /// # Errors
    /// As [`Session::once`].
    pub async fn merge(&self, key: &Key, patch: &Value, expect: u64) -> Result<Written> {
        let patch = patch.to_string().into();
        let r#type = rpc::PatchType::Merge.into();
        let key = Some(key.into());
        self.patch(rpc::PatchRequest {
            key,
            r#type,
            patch,
            expect,
            ..rpc::PatchRequest::default()
        })
        .await
    }

    /// # Errors
    /// As [`Session::once`].
    pub async fn delete(&self, request: rpc::DeleteRequest) -> Result<Written> {
        Written::of(self.once(async { self.objects().delete(request).await }).await?)
    }
}

impl Written {
    fn of(response: WriteResponse) -> Result<Self> {
        let object = response.object.as_ref().filter(|object| !object.json.is_empty());
        let object = object.map(Doc::from_message).transpose()?;
        Ok(Written {
            object,
            outcome: response.outcome(),
            warnings: response.warnings,
        })
    }

    /// Prints what the server found odd.
    pub fn warn(&self) {
        self.warnings.iter().for_each(|warning| crate::terminal::warn(warning));
    }
}
