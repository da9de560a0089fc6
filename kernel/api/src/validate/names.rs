//! What names, labels and ports look like: RFC 1123, RFC 1035 and RFC 6335, as Kubernetes demands of its fields.

/// The longest label of a domain's name, in bytes.
const LONGEST_LABEL: usize = 63;

/// The longest name of a port, in bytes.
const LONGEST_PORT: usize = 15;

/// A DNS subdomain (RFC 1123), as Kubernetes demands of most names.
pub fn is_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_part)
}

fn is_part(part: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
}

pub(super) fn bad_name(name: &str) -> String {
    format!(
        "\"{name}\" is no name: lower-case letters, digits, '-' and '.', starting and ending with a letter or digit, 253 at most"
    )
}

/// A DNS label (RFC 1123): one part of a name.
pub(super) fn is_dns_label(text: &str) -> bool {
    text.len() <= LONGEST_LABEL && is_part(text)
}

/// What is wrong with a text that had to be a DNS label; `what` is what it is to be.
pub(super) fn bad_dns_label(text: &str, what: &str) -> String {
    format!(
        "\"{text}\" is no {what}: lower-case letters, digits and '-', starting and ending with a letter or digit, \
         {LONGEST_LABEL} at most"
    )
}

/// A DNS label as RFC 1035 has it, which begins with a letter.
pub(super) fn is_letter_label(text: &str) -> bool {
    is_dns_label(text) && text.starts_with(|first: char| first.is_ascii_lowercase())
}

/// The name of a port as IANA has it (RFC 6335): what a Service asks for, a container may call its port.
pub(super) fn is_port_name(text: &str) -> bool {
    text.len() <= LONGEST_PORT
        && is_part(text)
        && !text.contains("--")
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
}

pub(super) fn bad_port_name(text: &str) -> String {
    format!(
        "\"{text}\" is no name of a port: lower-case letters, digits and single '-' between them, with a letter at least, \
         {LONGEST_PORT} at most"
    )
}

/// A number that a port may have; what is wrong if not.
pub(super) fn port_number(number: i64) -> Result<(), String> {
    match (1..=65_535).contains(&number) {
        true => Ok(()),
        false => Err(format!("{number} is no port: 1 to 65535")),
    }
}

pub(super) fn is_label_text(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= LONGEST_LABEL
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && edge(text.chars().next())
        && edge(text.chars().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_their_forms() {
        let (longest, longer) = ("a".repeat(63), "a".repeat(64));
        for (text, dns, letter, port) in [
            ("web", true, true, true),
            ("a", true, true, true),
            ("9bad", true, false, true),
            ("80", true, false, false),
            ("UPPER", false, false, false),
            ("a-b", true, true, true),
            ("a--b", true, true, false),
            ("-a", false, false, false),
            ("a-", false, false, false),
            ("a.b", false, false, false),
            ("a_b", false, false, false),
            ("", false, false, false),
            ("fifteen-letters", true, true, true),
            ("sixteen-letters-", false, false, false),
            ("sixteen-of-those", true, true, false),
            (&longest, true, true, false),
            (&longer, false, false, false),
        ] {
            let found = (is_dns_label(text), is_letter_label(text), is_port_name(text));
            assert_eq!(found, (dns, letter, port), "{text}");
        }
    }
}
