//! Gives back what only the start needed: pages of code that ran once, and what the allocator holds free.
//!
//! A start runs through much of a large binary (parsers, the compiler of plugins), and the kernel maps sixteen pages around
//! each one touched. Mapped pages count as ours and are the last to be reclaimed, though nothing will run them again.
#![allow(unsafe_code)] // madvise(2) and malloc_trim(3) have no safe form.
use std::{fs, io, time::Duration};

/// By then a first start has compiled the built-in policies, too.
const AFTER: Duration = Duration::from_secs(10);

/// Waits until the start is over, and gives back what it took.
pub async fn settle() {
    tokio::time::sleep(AFTER).await;
    if let Err(error) = give_back() {
        tracing::debug!(%error, "pages of code are kept");
    }
}

fn give_back() -> io::Result<()> {
    for (start, length) in code()? {
        // SAFETY: the range is a mapping of this process's binary that is executable, shared with the file and never
        // written: its pages are read again from the file when they are next needed.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers; the allocator locks for itself.
    unsafe {
        libc::malloc_trim(0)
    };
    Ok(())
}

/// Where this binary's code is mapped: `start-end r-xp … path` of proc_pid_maps(5).
fn code() -> io::Result<Vec<(usize, usize)>> {
    let binary = std::env::current_exe()?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let range = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        if !rest.starts_with("r-xp") || !rest.ends_with(binary.to_str()?) {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let (start, end) = (
            usize::from_str_radix(start, 16).ok()?,
            usize::from_str_radix(end, 16).ok()?,
        );
        Some((start, end.checked_sub(start)?))
    };
    Ok(maps.lines().filter_map(range).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_given_back_and_runs_on() {
        let ranges = code().unwrap();
        assert!(!ranges.is_empty(), "this test's own code is mapped");
        let own = code as fn() -> _ as usize;
        let inside = |(start, length): &(usize, usize)| (*start..start + length).contains(&own);
        assert!(ranges.iter().any(inside));
        give_back().unwrap();
        assert_eq!(code().unwrap(), ranges);
    }
}
