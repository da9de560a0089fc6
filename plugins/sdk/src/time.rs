//! Times as Kubernetes writes them, since guests have no clock and need none: the kernel gives the time.
//!
//! Days are turned into dates by the algorithms of Howard Hinnant,
//! <https://howardhinnant.github.io/date_algorithms.html>.

const DAY_MS: u64 = 86_400_000;

/// Milliseconds of Unix time as `2026-03-01T12:00:00Z`.
pub fn format(now_ms: u64) -> String {
    let (days, rest) = (now_ms / DAY_MS, now_ms % DAY_MS / 1000);
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Reads what [`format()`] writes; fractions of a second are let go of. `None` for anything else.
pub fn parse(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    if !text.is_ascii() || text.len() < 20 || !text.ends_with('Z') {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    let y = year - u64::from(month <= 2);
    let (era, yoe) = (y / 400, y % 400);
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    let days = (era * 146_097 + doe).checked_sub(719_468)?;
    let seconds = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    Some(days * DAY_MS + seconds * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        assert_eq!(format(0), "1970-01-01T00:00:00Z");
        assert_eq!(format(1_772_366_400_000), "2026-03-01T12:00:00Z");
        assert_eq!(parse("2024-02-29T23:59:59.123456Z"), Some(1_709_251_199_000));
        for ms in (0..4_000_000_000_000).step_by(86_399_999_000) {
            assert_eq!(parse(&format(ms)), Some(ms / 1000 * 1000));
        }
        assert_eq!(parse("yesterday"), None);
    }
}
