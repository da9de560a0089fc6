//! What a person is told of certificates: the context's own that ends, and the ones that are not accepted, each with the dates,
//! what the clock has to do with it, and what to do.
use crate::contexts::Access;
use anyhow::{Context, Result};
use jiff::Timestamp;
use rustls::AlertDescription;
use sampan_tls::{Certificate, Refused, Validity, Why, lifetimes::WARN};

/// What a context shows of its user.
#[derive(Clone, Debug)]
pub struct Shown {
    pub context: String,
    pub certificate: Certificate,
}

/// How a context's certificate is made anew when it is no longer accepted.
const ANEW: &str = "on a server's machine `sampan certificate renew --data-dir DIR` issues another for its context, and so does \
    the next `sampan up` there";

impl Shown {
    /// # Errors
    /// If the context's certificate cannot be read.
    pub fn of(access: &Access) -> Result<Self> {
        let certificate = Certificate::of_pem(&access.cert_pem)
            .with_context(|| format!("the certificate of context \"{}\"", access.context))?;
        Ok(Shown {
            context: access.context.clone(),
            certificate,
        })
    }

    /// Whether it is good, as this machine's clock has it.
    pub fn is_good(&self) -> bool {
        self.certificate.validity(Timestamp::now()) == Validity::Good
    }

    /// What to say of a certificate that ends soon.
    pub fn warning(&self, now: Timestamp) -> Option<String> {
        let left = now.duration_until(self.certificate.not_after);
        if left.is_negative() || left.unsigned_abs() > WARN {
            return None;
        }
        Some(format!(
            "the certificate of context \"{}\" ends at {}, in {}: `sampan certificate renew` gets another",
            self.context,
            self.certificate.not_after,
            crate::print::age::human(left.as_secs())
        ))
    }

    /// The server's certificate is not accepted here.
    pub fn distrusted(&self, server: &str, refused: &Refused) -> String {
        let what = match &refused.why {
            Why::Expired => {
                "a server renews its certificate by itself while it runs: set this machine's clock if that is wrong, else look \
                 whether the server's is, and start it again with `sampan up`"
            }
            Why::NotYetValid => "set this machine's clock, or the server's and start it again",
            Why::Foreign | Why::WrongName(_) => {
                "the server is not the one this context was made for. Choose another with --context or --server; `sampan up` \
                 on its machine writes a new context"
            }
            Why::Other(_) => "`sampan up` on the server's machine writes a new context",
        };
        format!(
            "the server {server} is not trusted: {refused}; {what} (context \"{}\")",
            self.context
        )
    }

    /// The server does not accept the context's certificate. It may have said why.
    pub fn not_accepted(&self, server: &str, alert: Option<AlertDescription>) -> String {
        let Certificate {
            user,
            issuer,
            not_before,
            not_after,
            ..
        } = &self.certificate;
        let clock = Timestamp::now();
        let now = Timestamp::from_second(clock.as_second()).unwrap_or(clock);
        let why = match (self.certificate.validity(clock), alert) {
            (Validity::Over, _) => format!("It has expired: {ANEW}"),
            (Validity::NotYet, _) => {
                "It is not good yet: this machine's clock is probably behind, or that of the server which issued it was ahead. \
                 Set the clock"
                    .to_owned()
            }
            (Validity::Good, Some(AlertDescription::CertificateExpired)) => format!(
                "The server takes it for expired or not yet good, and this machine does not: one of the two clocks is wrong. \
                 Compare them with `date`; where the server's is right, {ANEW}"
            ),
            (Validity::Good, Some(AlertDescription::UnknownCA | AlertDescription::DecryptError)) => format!(
                "The server knows another authority than the one that issued it, \"{issuer}\": it is of another cluster. Choose \
                 another with --context or --server"
            ),
            (Validity::Good, alert) => {
                let word = alert.map_or_else(String::new, |alert| format!(" It said: {alert:?}."));
                format!("It did not say more.{word} Perhaps {ANEW}")
            }
        };
        format!(
            "the server {server} does not accept the certificate of context \"{}\": it is of user \"{user}\", good from \
             {not_before} to {not_after}, and this machine's clock says {now}. {why}",
            self.context
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;
    use sampan_server::{Authority, Lifetimes};
    use std::time::Duration;

    fn shown(life: Duration) -> Shown {
        let lifetimes = Lifetimes {
            client: life,
            ..Lifetimes::default()
        };
        let authority = Authority::make("lab").unwrap().with_lifetimes(lifetimes);
        Shown::of(&Access {
            context: "lab".into(),
            cert_pem: authority.issue_admin().unwrap().cert_pem,
            ..Access::default()
        })
        .unwrap()
    }

    #[test]
    fn a_month_before_the_end_there_is_a_warning() {
        let shown = shown(Lifetimes::default().client);
        let before = |span: jiff::Span| shown.warning(shown.certificate.not_after - span);
        assert_eq!(before((31 * 24).hours()), None);
        let text = before((29 * 24).hours()).unwrap();
        assert!(
            text.contains("context \"lab\"") && text.contains("in 29d") && text.contains("certificate renew"),
            "{text}"
        );
        assert_eq!(
            before((-1).hours()),
            None,
            "an expired one is told where it is not accepted"
        );
    }

    #[test]
    fn the_clocks_are_compared() {
        let over = shown(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(1100));
        assert!(!over.is_good());
        let text = over.not_accepted("https://s", Some(AlertDescription::CertificateExpired));
        assert!(
            text.contains("It has expired") && text.contains("\"admin\"") && text.contains("--data-dir"),
            "{text}"
        );
        let good = shown(Duration::from_secs(3600));
        let text = good.not_accepted("https://s", Some(AlertDescription::CertificateExpired));
        assert!(text.contains("one of the two clocks is wrong"), "{text}");
        let text = good.not_accepted("https://s", Some(AlertDescription::UnknownCA));
        assert!(
            text.contains("\"sampan cluster lab\"") && text.contains("another cluster"),
            "{text}"
        );
    }
}
