//! Certificates as lines of a table, as a page, and as JSON.
use crate::{
    print::{Table, age, tabs},
    session::Shown,
    terminal::{self, Tone, paint},
};
use jiff::Timestamp;
use sampan_api::rpc;
use sampan_tls::{Certificate, Validity};
use serde_json::{Value, json};

const UNKNOWN: &str = "<unknown>";
const CONTEXT: &str = "context";

/// Whose certificate it is, and what it says.
pub struct Row {
    name: String,
    role: String,
    certificate: Option<Certificate>,
    /// Why it is not known.
    pub problem: String,
}

impl Row {
    pub fn of(message: rpc::Certificate) -> Self {
        let read = Certificate::of_der(&message.der);
        let problem = match &read {
            Err(error) if message.problem.is_empty() => error.to_string(),
            _ => message.problem,
        };
        Row {
            name: message.name,
            role: message.role,
            certificate: read.ok(),
            problem,
        }
    }

    pub fn of_context(shown: &Shown) -> Self {
        Row {
            name: shown.context.clone(),
            role: CONTEXT.to_owned(),
            certificate: Some(shown.certificate.clone()),
            problem: String::new(),
        }
    }

    /// When it is renewed by whoever shows it; none where nobody does that by himself.
    fn renews(&self, certificate: &Certificate) -> Option<Timestamp> {
        matches!(self.role.as_str(), "server" | "node").then(|| certificate.renews())
    }

    fn renews_in(&self, certificate: &Certificate, now: Timestamp) -> String {
        match self.renews(certificate) {
            Some(due) if due <= now => "due".to_owned(),
            Some(due) => age::human(now.duration_until(due).as_secs()),
            None if self.role == CONTEXT => "by hand".to_owned(),
            None => "never".to_owned(),
        }
    }

    /// `2027-…`, and whether that is past.
    fn expires(certificate: &Certificate, now: Timestamp) -> (String, bool) {
        let over = certificate.validity(now) == Validity::Over;
        let word = if over { " (expired)" } else { "" };
        (format!("{}{word}", certificate.not_after), over)
    }

    pub fn value(&self) -> Value {
        let mut value = json!({"name": self.name, "role": self.role});
        match &self.certificate {
            None => value["problem"] = json!(self.problem),
            Some(certificate) => {
                value["subject"] = json!({"user": certificate.user, "groups": certificate.groups});
                value["issuer"] = json!(certificate.issuer);
                value["names"] = json!(alternatives(certificate));
                value["serial"] = json!(certificate.serial);
                value["fingerprint"] = json!(certificate.fingerprint);
                value["key"] = json!(certificate.key);
                value["notBefore"] = json!(certificate.not_before);
                value["notAfter"] = json!(certificate.not_after);
                value["issued"] = json!(certificate.issued());
                value["renews"] = json!(self.renews(certificate));
            }
        }
        value
    }
}

fn alternatives(certificate: &Certificate) -> Vec<String> {
    let addresses = certificate.addresses.iter().map(ToString::to_string);
    certificate.names.iter().cloned().chain(addresses).collect()
}

/// A line for each.
pub fn table(rows: &[Row], wide: bool, now: Timestamp) -> String {
    let mut headers = vec!["NAME", "ROLE", "SUBJECT", "ISSUED", "EXPIRES", "RENEWS IN"];
    headers.extend(
        wide.then_some(["KEY", "SERIAL", "FINGERPRINT", "NAMES"])
            .into_iter()
            .flatten(),
    );
    let mut table = Table::new(headers);
    for row in rows {
        let mut cells = vec![row.name.clone(), row.role.clone()];
        match &row.certificate {
            None => cells.extend([UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN].map(str::to_owned)),
            Some(certificate) => {
                cells.push(certificate.user.clone());
                cells.push(certificate.issued().to_string());
                cells.push(Row::expires(certificate, now).0);
                cells.push(row.renews_in(certificate, now));
                if wide {
                    cells.push(certificate.key.clone());
                    cells.push(certificate.serial.clone());
                    cells.push(certificate.fingerprint.clone());
                    cells.push(alternatives(certificate).join(","));
                }
            }
        }
        table.row(cells);
    }
    table.to_text(true)
}

/// One of them in full.
pub fn page(row: &Row, now: Timestamp) -> String {
    let Some(certificate) = &row.certificate else {
        return format!("{}\n", row.problem);
    };
    let none = |list: Vec<String>| match list.is_empty() {
        true => "<none>".to_owned(),
        false => list.join(", "),
    };
    let (expires, over) = Row::expires(certificate, now);
    let expires = match over && terminal::colours() {
        true => paint(Tone::Bad, &expires),
        false => expires,
    };
    let left = now.duration_until(certificate.not_after).as_secs();
    let left = if over {
        String::new()
    } else {
        format!(" (in {})", age::human(left))
    };
    let text = format!(
        "Name:\t{}\nUser:\t{}\nGroups:\t{}\nIssuer:\t{}\nGood for:\t{}\nKey:\t{}\nSerial:\t{}\nSHA-256:\t{}\nIssued:\t{}\n\
         Good from:\t{}\nExpires:\t{expires}{left}\n",
        row.name,
        certificate.user,
        none(certificate.groups.clone()),
        certificate.issuer,
        none(alternatives(certificate)),
        certificate.key,
        certificate.serial,
        certificate.fingerprint,
        certificate.issued(),
        certificate.not_before,
    );
    tabs::align(&text, 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_server::Authority;

    #[test]
    fn each_has_a_line_and_who_is_away_too() {
        let authority = Authority::make("lab").unwrap();
        let node = authority.issue_node("n1", &["10.0.0.1".to_owned()]).unwrap();
        let node = Certificate::of_pem(&node.cert_pem).unwrap();
        let message = |role: &str, name: &str, der: &[u8], problem: &str| rpc::Certificate {
            role: role.into(),
            name: name.into(),
            der: der.to_vec().into(),
            problem: problem.into(),
        };
        let rows = [
            Row::of(message("authority", "lab", authority.certificate().der(), "")),
            Row::of(message("node", "n1", node.der(), "")),
            Row::of(message(
                "node",
                "n2",
                &[],
                "node \"n2\" cannot be asked: it does not answer",
            )),
        ];
        let text = table(&rows, false, node.issued());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("authority") && lines[1].ends_with("never"), "{text}");
        assert!(
            lines[2].contains("system:node:n1") && lines[2].contains(&node.not_after.to_string()),
            "{text}"
        );
        assert!(lines[2].ends_with('d'), "{text}");
        assert!(lines[3].contains("<unknown>"), "{text}");
        assert!(table(&rows, true, node.issued()).contains("n1,10.0.0.1"));
        let late = table(&rows, false, node.not_after + jiff::SignedDuration::from_secs(1));
        assert!(late.contains("(expired)") && late.contains("due"), "{late}");
        assert_eq!(rows[1].value()["subject"]["groups"][0], "system:nodes");
        assert_eq!(
            rows[2].value()["problem"],
            "node \"n2\" cannot be asked: it does not answer"
        );
    }
}
