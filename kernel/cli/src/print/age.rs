//! Durations and times as kubectl writes them: `5s`, `2m3s`, `3d4h`.
use crate::doc::text;
use serde_json::Value;

/// Now, as far as printing is concerned; given, so that tests can say when it is.
#[derive(Clone, Copy, Debug)]
pub struct Moment(jiff::Timestamp);

impl Moment {
    pub fn now() -> Self {
        Moment(jiff::Timestamp::now())
    }

    /// A time in RFC 3339.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(time: &str) -> Result<Self, jiff::Error> {
        time.parse().map(Moment)
    }

    /// How long ago a time in RFC 3339 was; `<unknown>` where there is none.
    pub fn since(self, time: &str) -> String {
        match time.parse::<jiff::Timestamp>() {
            Ok(time) => human(self.0.duration_since(time).as_secs()),
            Err(_) => "<unknown>".to_owned(),
        }
    }

    /// How old an object is.
    pub fn age(self, object: &Value) -> String {
        self.since(text(object, "/metadata/creationTimestamp"))
    }

    /// Seconds from a time in RFC 3339 until now; none if there is no such time.
    pub fn seconds_since(self, time: &str) -> Option<i64> {
        time.parse::<jiff::Timestamp>()
            .ok()
            .map(|time| self.0.duration_since(time).as_secs())
    }
}

/// The time between two times in RFC 3339; none unless both are there.
pub fn between(start: &str, end: &str) -> Option<String> {
    let (start, end) = (
        start.parse::<jiff::Timestamp>().ok()?,
        end.parse::<jiff::Timestamp>().ok()?,
    );
    Some(human(end.duration_since(start).as_secs()))
}

/// Seconds in the largest units that still say enough.
pub fn human(seconds: i64) -> String {
    let pair = |value: i64, unit: &str, rest: i64, small: &str| match rest {
        0 => format!("{value}{unit}"),
        rest => format!("{value}{unit}{rest}{small}"),
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => pair(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

/// A time in RFC 3339 as `describe` shows it: `Sat, 01 Mar 2026 12:00:00 +0000`.
pub fn long(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string(),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// A duration of the user's: `30s`, `5m`, `1h30m`, `500ms`, or seconds as a plain number. Negative ones are none.
///
/// # Errors
/// If it is no duration.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("\"{text}\" is no duration: expected something like 30s, 5m or 1h30m");
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(std::time::Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut millis = 0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let value: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let factor = match &rest[..end] {
            "ms" => 1.0,
            "s" => 1000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            _ => return Err(wrong()),
        };
        millis += value * factor;
        rest = &rest[end..];
    }
    if text.is_empty() || millis > 1e15 {
        return Err(wrong());
    }
    Ok(std::time::Duration::from_millis(millis as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_as_kubectl_writes_them() {
        let (minute, hour, day, year) = (60, 3600, 86_400, 86_400 * 365);
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (2 * minute, "2m"),
            (2 * minute + 3, "2m3s"),
            (9 * minute + 59, "9m59s"),
            (10 * minute + 5, "10m"),
            (179 * minute, "179m"),
            (3 * hour + 4 * minute, "3h4m"),
            (8 * hour + 30 * minute, "8h"),
            (47 * hour, "47h"),
            (48 * hour, "2d"),
            (3 * day + 4 * hour, "3d4h"),
            (8 * day + 5 * hour, "8d"),
            (729 * day, "729d"),
            (2 * year, "2y"),
            (2 * year + 5 * day, "2y5d"),
            (9 * year, "9y"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
        let now = Moment::parse("2026-03-01T12:02:03Z").unwrap();
        assert_eq!(now.since("2026-03-01T12:00:00Z"), "2m3s");
        assert_eq!(now.since(""), "<unknown>");
        assert_eq!(
            between("2026-03-01T12:00:00Z", "2026-03-01T12:00:05Z").as_deref(),
            Some("5s")
        );
        assert_eq!(long("2026-03-01T12:00:00Z"), "Sun, 01 Mar 2026 12:00:00 +0000");
    }

    #[test]
    fn durations_of_users() {
        for (text, millis) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("7", 7000),
            ("1.5s", 1500),
        ] {
            assert_eq!(parse_duration(text).unwrap().as_millis(), millis, "{text}");
        }
        for text in ["", "s", "5x", "-3s", "1h30", "5 m"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
