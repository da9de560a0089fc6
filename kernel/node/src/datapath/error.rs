//! What can go wrong between what is wanted and the kernel.
use super::nft::{Refusal, SendError};
use sampan_sandbox::network::EntryKey;
use std::io;

/// Why the datapath is not as it is wanted. What was there before still is.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    #[error(
        "the kernel has no nf_tables ({0}): load its module (`modprobe nf_tables`), or boot a kernel that was built with \
         CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET"
    )]
    Missing(io::Error),
    #[error("the datapath takes the right to administrate the network (CAP_NET_ADMIN): run the node as root ({0})")]
    NotAllowed(io::Error),
    #[error("the settings of the datapath: {0}")]
    Settings(String),
    #[error("{what} cannot be in the datapath: {why}")]
    Unfit { what: String, why: String },
    #[error("{}the kernel refused {what}: {source}{words}{}", from(.origin), hint(.source))]
    Refused {
        /// Whose it is, as far as that is known.
        origin: Option<EntryKey>,
        what: String,
        source: io::Error,
        words: String,
    },
    #[error("a change of {0} bytes is more than the kernel takes at once: change less in one plan")]
    TooLarge(usize),
    #[error("others change the firewall all the time, so nothing of ours could be changed: see `nft monitor`")]
    Raced,
    #[error("cannot {step}: {source}")]
    Step { step: String, source: io::Error },
}

fn from(origin: &Option<EntryKey>) -> String {
    origin.as_ref().map(|key| format!("{key}: ")).unwrap_or_default()
}

/// What to do about an error, where that is known.
fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ENOENT) => {
            ". Either a part of nf_tables is not in this kernel (CONFIG_NFT_NAT, _MASQ, _NUMGEN, _FIB_INET, _REJECT_INET, \
             _CT), or something that was there is gone"
        }
        Some(libc::EPERM) => ". Another program owns the table, or the right CAP_NET_ADMIN is lacking",
        Some(libc::ENOMEM | libc::ENOBUFS) => ". The machine is short of memory",
        _ => "",
    }
}

impl DatapathError {
    pub(super) fn step(step: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let step = step.into();
        move |source| DatapathError::Step { step, source }
    }

    /// What a failure to speak with nf_tables at all means.
    pub(super) fn of_nftables(source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => DatapathError::NotAllowed(source),
            Some(libc::EINVAL | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT | libc::ENOENT) => {
                DatapathError::Missing(source)
            }
            _ => DatapathError::Step {
                step: "speak with nf_tables".to_owned(),
                source,
            },
        }
    }

    /// `origins` are the keys that the numbers in a batch stand for.
    pub(super) fn of_batch(error: SendError, origins: &[EntryKey]) -> Self {
        match error {
            SendError::Refused(Refusal {
                origin,
                what,
                code,
                words,
            }) => DatapathError::Refused {
                origin: origin
                    .and_then(|number| origins.get(usize::try_from(number).ok()?))
                    .cloned(),
                what,
                source: io::Error::from_raw_os_error(code),
                words: if words.is_empty() { words } else { format!(" ({words})") },
            },
            SendError::Raced | SendError::Unknown => DatapathError::Raced,
            SendError::TooLarge(bytes) => DatapathError::TooLarge(bytes),
            SendError::Io(source) => DatapathError::of_nftables(source),
        }
    }
}
