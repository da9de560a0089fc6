//! What the agent remembers of a pod over its own end: the object with the status it last had.
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

/// The largest record that is read. Bytes.
const MAX: u64 = 8 << 20;

/// One pod, as the agent knew it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub pod: Pod,
    /// Digests of the manifests it runs from.
    #[serde(default)]
    pub manifests: Vec<String>,
}

impl Record {
    /// Writes it into a pod's directory, whole or not at all. It need not outlive a power cut: after one nothing of the
    /// pod runs, and the control plane knows the rest.
    ///
    /// # Errors
    /// If the disk refuses, or there is no such directory.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        fs::rename(self.write_aside(dir)?, dir.join("record.json"))
    }

    /// Writes it if there is none yet.
    ///
    /// # Errors
    /// As [`Record::write`].
    pub fn write_first(&self, dir: &Path) -> io::Result<()> {
        let aside = self.write_aside(dir)?;
        let linked = fs::hard_link(&aside, dir.join("record.json"));
        fs::remove_file(aside)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    fn write_aside(&self, dir: &Path) -> io::Result<PathBuf> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let aside = dir.join(format!("record.json.{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let mut options = fs::OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?;
        let mut file = io::BufWriter::new(file);
        serde_json::to_writer(&mut file, self)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(aside)
    }

    /// Reads it back; none if there is none that makes sense.
    pub fn read(dir: &Path) -> Option<Self> {
        use io::Read;
        let file = fs::File::open(dir.join("record.json")).ok()?;
        let mut text = Vec::new();
        file.take(MAX).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// Writes records on a thread of its own, in the order they come: the agent does not wait for the disk.
#[derive(Clone, Debug)]
pub struct Records {
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug)]
enum Job {
    Write(PathBuf, Box<Record>),
    Barrier(tokio::sync::oneshot::Sender<()>),
}

impl Records {
    /// # Errors
    /// If there is no thread to be had.
    pub fn start() -> io::Result<Self> {
        let (jobs, receiver) = mpsc::channel();
        std::thread::Builder::new().name("records".to_owned()).spawn(move || {
            for job in receiver {
                match job {
                    Job::Write(dir, record) => match record.write(&dir) {
                        // A pod that has no directory yet, or was forgotten meanwhile.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => tracing::warn!(dir = %dir.display(), %error, "cannot write a pod's record"),
                        Ok(()) => {}
                    },
                    Job::Barrier(done) => drop(done.send(())),
                }
            }
        })?;
        Ok(Records { jobs })
    }

    pub fn write(&self, dir: PathBuf, record: Record) {
        let _ = self.jobs.send(Job::Write(dir, Box::new(record)));
    }

    /// Waits until all before is written.
    pub async fn barrier(&self) {
        let (done, wait) = tokio::sync::oneshot::channel();
        let _ = self.jobs.send(Job::Barrier(done));
        let _ = wait.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn records_come_back_and_forgotten_pods_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let pod = dir.path().join("u1");
        let mut record = Record {
            manifests: vec!["sha256:0".into()],
            ..Record::default()
        };
        record.pod.metadata.name = Some("web".into());
        fs::create_dir(&pod).unwrap();
        record.write_first(&pod).unwrap();
        Record::default().write_first(&pod).unwrap();
        assert_eq!(Record::read(&pod).unwrap().pod.metadata.name.as_deref(), Some("web"));

        let records = Records::start().unwrap();
        record.pod.metadata.name = Some("web-2".into());
        records.write(pod.clone(), record.clone());
        records.write(dir.path().join("gone"), record);
        records.barrier().await;
        assert_eq!(Record::read(&pod).unwrap().pod.metadata.name.as_deref(), Some("web-2"));
        assert!(!dir.path().join("gone").exists());
        fs::write(pod.join("record.json"), "{").unwrap();
        assert!(Record::read(&pod).is_none());
    }
}
