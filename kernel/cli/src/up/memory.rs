//! Gives back what only the start needed: pages of code that ran once, and what the allocator holds free.
//!
//! A start runs through much of a large binary (parsers, the compiler of plugins), and the kernel maps sixteen pages around
//! each one touched. Mapped pages count as ours and are the last to be reclaimed, though nothing will run them again.
#![allow(unsafe_code)] // madvise(2) and the allocator's mi_collect have no safe form.
use std::{fs, io, time::Duration};

/// By then a first start has compiled the built-in policies on a machine that is quiet, and on one that is not.
const AFTER: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(50)];

/// Waits until the start is over, and gives back what it took.
pub async fn settle() {
    for pause in AFTER {
        tokio::time::sleep(pause).await;
        if let Err(error) = give_back() {
            tracing::debug!(%error, "pages of the binary are kept");
        }
    }
}

fn give_back() -> io::Result<()> {
    for (start, length) in clean()? {
        // SAFETY: the range is a mapping of this process's binary that nobody can write and nobody has written: its
        // pages are read again from the file when they are next needed.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
    // SAFETY: takes no pointers; the allocator locks for itself.
    unsafe { libmimalloc_sys::mi_collect(true) };
    Ok(())
}

/// Where this binary's code and constants are mapped, as the file has them: proc_pid_smaps(5). What the loader has relocated
/// is not as the file has it: it is anonymous, or swapped out. (Dirty is also what was built just now and is not on the disk yet.)
fn clean() -> io::Result<Vec<(usize, usize)>> {
    let binary = std::env::current_exe()?;
    let smaps = fs::read_to_string("/proc/self/smaps")?;
    let mut ranges = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        if let Some(own) = line.strip_prefix("Anonymous:") {
            current = current.filter(|_| own.trim() == "0 kB");
        } else if let Some(swapped) = line.strip_prefix("Swap:") {
            ranges.extend(current.take().filter(|_| swapped.trim() == "0 kB"));
        } else if !line.split(' ').next().is_some_and(|word| word.ends_with(':')) {
            current = unwritable(line).filter(|_| line.ends_with(&*binary.to_string_lossy()));
        }
    }
    Ok(ranges)
}

/// The range of `start-end perms offset …`, if nobody can write there.
fn unwritable(line: &str) -> Option<(usize, usize)> {
    let (range, rest) = line.split_once(' ')?;
    if !rest.starts_with("r-") {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let (start, end) = (
        usize::from_str_radix(start, 16).ok()?,
        usize::from_str_radix(end, 16).ok()?,
    );
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_constants_are_given_back_and_there_again() {
        static RELOCATED: [&&str; 2] = [&"of", &"them"];
        let ranges = clean().unwrap();
        assert!(
            ranges.len() > 1,
            "this test's own code and constants are mapped: {ranges:?}"
        );
        let own = clean as fn() -> _ as usize;
        let inside = |(start, length): &(usize, usize)| (*start..start + length).contains(&own);
        assert!(ranges.iter().any(inside));
        give_back().unwrap();
        assert_eq!(clean().unwrap(), ranges);
        assert_eq!(std::hint::black_box(RELOCATED).map(|text| text.len()), [2, 4]);
    }
}
