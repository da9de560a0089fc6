//! Owner, mode, time and extended attributes of an entry, from its header and the pax records before it.

use std::io::Read;

use rustix::fs::{Gid, Timespec, Timestamps, Uid};
use tar::Entry;

use super::{ExtendedAttributes, keeps_attribute};
use crate::error::{ImageError, Result};

/// All of one entry's extended attributes, as the kernel has it. Bytes.
const MAX_ATTRIBUTES: usize = 64 << 10;

/// What an entry is given besides its content.
#[derive(Clone, Debug)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub(super) mtime: (i64, u32),
    pub(super) extended: ExtendedAttributes,
}

impl Attributes {
    pub(super) fn read<R: Read>(entry: &mut Entry<'_, R>) -> Result<Self> {
        let name = entry.path_bytes().into_owned();
        let bad = |error: std::io::Error| ImageError::unsafe_entry(&name, error.to_string());
        let header = entry.header();
        let fields = header.as_old();
        let number = |parsed: std::io::Result<u64>, field: &[u8]| match parsed {
            Err(_) if is_blank(field) => Ok(0),
            parsed => parsed.map_err(bad),
        };
        let mut mtime = (i64::try_from(number(header.mtime(), &fields.mtime)?).unwrap_or(0), 0);
        let mode = number(header.mode().map(u64::from), &fields.mode)?;
        let mode = u32::try_from(mode & 0o7777).unwrap_or(0);
        let owner = |parsed: std::io::Result<u64>, field: &[u8]| {
            let id = number(parsed, field)?;
            // The last number means "unchanged" to the kernel.
            u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or_else(|| {
                ImageError::unsafe_entry(&name, format!("its owner {id} is not a valid user or group number"))
            })
        };
        let (uid, gid) = (owner(header.uid(), &fields.uid)?, owner(header.gid(), &fields.gid)?);
        let mut extended = ExtendedAttributes::new();
        if let Some(records) = entry.pax_extensions().map_err(bad)? {
            for record in records {
                let record = record.map_err(bad)?;
                let Ok(key) = record.key() else { continue };
                if key.starts_with("GNU.sparse.") {
                    // Its content is a map of holes before the data, which must not pass for the file.
                    return Err(ImageError::unsafe_entry(
                        &name,
                        "it is a sparse file in pax format; pack it without -S",
                    ));
                }
                if key == "mtime"
                    && let Some(time) = record.value().ok().and_then(parse_time)
                {
                    mtime = time;
                }
                if let Some(attribute) = key.strip_prefix("SCHILY.xattr.").filter(|name| keeps_attribute(name)) {
                    extended.insert(attribute.to_owned(), record.value_bytes().to_vec());
                }
            }
        }
        let size = extended
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>();
        if size > MAX_ATTRIBUTES {
            return Err(ImageError::unsafe_entry(
                &name,
                "its extended attributes are larger than 64 KiB",
            ));
        }
        Ok(Self {
            mode,
            uid,
            gid,
            mtime,
            extended,
        })
    }

    pub(super) fn owner(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }

    pub(super) fn times(&self) -> Timestamps {
        let time = Timespec {
            tv_sec: self.mtime.0,
            tv_nsec: self.mtime.1.into(),
        };
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }
}

/// A number that is left out, which other readers take for zero.
fn is_blank(field: &[u8]) -> bool {
    field.iter().all(|byte| matches!(byte, 0 | b' '))
}

/// Major and minor number of a device.
pub(super) fn device<R: Read>(entry: &Entry<'_, R>) -> Result<(u32, u32)> {
    let header = entry.header();
    let (major, minor) = match (header.as_ustar(), header.as_gnu()) {
        (Some(fields), _) => (&fields.dev_major, &fields.dev_minor),
        (None, Some(fields)) => (&fields.dev_major, &fields.dev_minor),
        (None, None) => return Ok((0, 0)),
    };
    let number = |parsed: std::io::Result<Option<u32>>, field: &[u8]| match parsed {
        Err(_) if is_blank(field) => Ok(0),
        Err(error) => Err(ImageError::unsafe_entry(&entry.path_bytes(), error.to_string())),
        Ok(number) => Ok(number.unwrap_or_default()),
    };
    Ok((
        number(header.device_major(), major)?,
        number(header.device_minor(), minor)?,
    ))
}

/// `1700000000.25`, possibly negative.
fn parse_time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    match (whole.starts_with('-'), nanos) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_time;

    #[test]
    fn times() {
        assert_eq!(parse_time("1700000000.25"), Some((1_700_000_000, 250_000_000)));
        assert_eq!(parse_time("5"), Some((5, 0)));
        assert_eq!(parse_time("-1.5"), Some((-2, 500_000_000)));
        assert_eq!(parse_time("x"), None);
    }
}
