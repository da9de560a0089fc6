//! Processes as `/proc` shows them: who a pid really is.
use std::fs;

/// When a process started, in ticks since boot, and whether it is more than a zombie. None: there is no such process.
pub fn start_ticks(pid: i32) -> Option<(u64, bool)> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Differs with each boot. Empty where the kernel does not say.
pub fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// The name in the second field may hold anything, so fields are counted from its last parenthesis.
fn parse_stat(stat: &str) -> Option<(u64, bool)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let ticks = fields.nth(18)?.parse().ok()?;
    Some((ticks, !matches!(state, "Z" | "X")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_misleads_nobody() {
        let stat = "7 (a) Z (b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 99 1";
        assert_eq!(parse_stat(stat), Some((4242, true)));
        assert_eq!(parse_stat(&stat.replace(") S", ") Z")), Some((4242, false)));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn this_process_has_a_start() {
        let own = start_ticks(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.1 && own.0 > 0);
    }
}
