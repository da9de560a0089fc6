//! Images of the node, for those who ask.
use super::Answers;
use crate::agent::Node;
use sampan_api::{ApiError, Reason, rpc};
use sampan_container::{Auth, ImageError, Kind, Progress, Reference};
use std::{io::Write, sync::Arc};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

/// The largest archive that is taken. Bytes.
const MAX_ARCHIVE: u64 = 64 << 30;

/// An error of the image store in the words of the protocol.
pub fn api_error(error: &ImageError) -> ApiError {
    let reason = match error {
        ImageError::NotFound { .. } => Reason::NotFound,
        ImageError::Unauthorized { .. } => Reason::Forbidden,
        ImageError::InUse { .. } => Reason::Conflict,
        ImageError::TooLarge { .. } => Reason::TooLarge,
        ImageError::Unreachable { .. } | ImageError::NoSpace { .. } | ImageError::Busy { .. } => Reason::Unavailable,
        ImageError::Io { .. } => Reason::Internal,
        _ => Reason::BadRequest,
    };
    ApiError::new(reason, error.to_string())
}

fn parse(name: &str) -> Result<Reference, ApiError> {
    name.parse().map_err(|error: ImageError| api_error(&error))
}

/// Pulls an image, telling how far it is.
///
/// # Errors
/// Where the name or the credentials make no sense; what goes wrong later comes in the stream.
pub fn pull(node: Arc<Node>, request: rpc::PullImageRequest) -> Result<Answers<rpc::ImageProgress>, ApiError> {
    let reference = parse(&request.image)?;
    let auth = (!request.auth.is_empty()).then(|| Auth::Entry(request.auth.clone()));
    let (progress, answers) = mpsc::unbounded_channel();
    let name = node.config.name.clone();
    let step = move |what: String, done_bytes, total_bytes, digest| rpc::ImageProgress {
        node: name.clone(),
        what,
        done_bytes,
        total_bytes,
        digest,
    };
    tokio::spawn(async move {
        if let Some(image) = node.images.store.resolve(&reference).filter(|_| !request.always) {
            let _ = progress.send(Ok(step(
                "done".into(),
                image.size,
                image.size,
                image.digest.to_string(),
            )));
            return;
        }
        let told = progress.clone();
        let tell = |at: Progress| {
            let message = match at {
                Progress::Resolving => step("resolving".into(), 0, 0, String::new()),
                Progress::Blob { digest, done, total } => step(format!("pulling {digest}"), done, total, String::new()),
                // Said below, when the layers are unpacked too.
                Progress::Done { .. } => step("unpacking".into(), 0, 0, String::new()),
            };
            let _ = told.send(Ok(message));
        };
        let work = async {
            let image = tokio::select! {
                image = node.images.pull_for(&reference, auth, tell) => image?,
                // Nobody listens any more.
                () = progress.closed() => return Ok(()),
            };
            node.images.make_ready(&reference).await?;
            let _ = progress.send(Ok(step(
                "done".into(),
                image.size,
                image.size,
                image.digest.to_string(),
            )));
            Ok(())
        };
        if let Err(error) = work.await {
            let _ = progress.send(Err(api_error(&error).into()));
        }
    });
    Ok(Box::pin(UnboundedReceiverStream::new(answers)))
}

/// Loads an archive that comes in pieces.
///
/// # Errors
/// Where it is none, or too large, or breaks off.
pub async fn load(
    node: &Arc<Node>,
    mut pieces: Streaming<rpc::LoadImageRequest>,
) -> Result<rpc::LoadImageResponse, Status> {
    let failed = |error: std::io::Error| ApiError::unavailable(format!("cannot keep the archive: {error}"));
    let dir = node.config.data.join("incoming");
    std::fs::create_dir_all(&dir).map_err(failed)?;
    let mut file = Archive::new(&dir).map_err(failed)?;
    while let Some(piece) = pieces.message().await? {
        file.length += piece.data.len() as u64;
        if file.length > MAX_ARCHIVE {
            return Err(ApiError::new(Reason::TooLarge, "the archive is larger than 64 GiB").into());
        }
        file.file.write_all(&piece.data).map_err(failed)?;
    }
    if file.length == 0 {
        return Err(ApiError::bad_request("the archive is empty").into());
    }
    let images = node
        .images
        .store
        .load(&file.path, None)
        .await
        .map_err(|error| api_error(&error))?;
    for image in &images {
        node.images
            .make_ready(&parse(&image.name)?)
            .await
            .map_err(|error| api_error(&error))?;
    }
    Ok(rpc::LoadImageResponse {
        images: images.iter().map(|image| familiar(&image.name)).collect(),
    })
}

/// A file that goes away with this.
struct Archive {
    path: std::path::PathBuf,
    file: std::fs::File,
    length: u64,
}

impl Archive {
    fn new(dir: &std::path::Path) -> std::io::Result<Self> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}.tar", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = dir.join(name);
        let file = std::fs::File::create(&path)?;
        Ok(Archive { path, file, length: 0 })
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn familiar(name: &str) -> String {
    name.parse::<Reference>()
        .map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}

/// All images.
pub fn list(node: &Node) -> rpc::ListImagesResponse {
    let images = node.images.store.list().into_iter().map(|image| rpc::Image {
        name: familiar(&image.name),
        digest: image.digest.to_string(),
        size: image.size,
        kind: match image.kind {
            Kind::Wasm => "wasm".to_owned(),
            Kind::Container => "container".to_owned(),
        },
        created: image.created.unwrap_or_default(),
        node: node.config.name.clone(),
        platform: image.platform,
    });
    rpc::ListImagesResponse {
        images: images.collect(),
        ..rpc::ListImagesResponse::default()
    }
}

/// Removes an image that no pod uses.
///
/// # Errors
/// Where there is none, or a pod uses it.
pub async fn remove(node: &Node, image: &str) -> Result<rpc::RemoveImageResponse, ApiError> {
    let reference = parse(image)?;
    let removed = node
        .images
        .store
        .remove(&reference, &node.images.used())
        .await
        .map_err(|error| api_error(&error))?;
    Ok(rpc::RemoveImageResponse {
        removed: removed.names.iter().map(|name| familiar(name)).collect(),
        freed_bytes: removed.freed_bytes,
    })
}
