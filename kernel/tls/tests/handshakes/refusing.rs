//! Who is refused learns why, and of which certificate.
use crate::stage::{Authority, Client, HOST, echo};
use jiff::Span;
use rustls::AlertDescription;
use sampan_tls::{Credentials, DialError, KeyPair, Refused, Why, alert};
use std::sync::Arc;

fn hours(hours: i64) -> Span {
    Span::new().hours(hours)
}

/// What a client says of a listener that shows this.
async fn refusal(authority: &Authority, shown: &KeyPair, client: &Arc<Credentials>, host: &str) -> Refused {
    let address = echo(&authority.credentials(shown)).await;
    match Client::dial(client, address, host).await.err() {
        Some(DialError::Refused(refused)) => *refused,
        other => panic!("it is not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_listeners_certificate_is_named_with_its_dates() {
    let authority = Authority::new("sampan cluster a");
    let client = authority.credentials(&authority.good("anna"));

    let past = authority.issue("system:server:s1", hours(-48), hours(-1));
    let refused = refusal(&authority, &past, &client, HOST).await;
    assert_eq!(refused.why, Why::Expired);
    let (until, text) = (refused.certificate.not_after.to_string(), refused.to_string());
    assert!(
        text.contains("\"system:server:s1\"") && text.contains(&until) && text.contains("has expired"),
        "{text}"
    );

    let future = authority.issue("system:server:s1", hours(5), hours(50));
    let refused = refusal(&authority, &future, &client, HOST).await;
    assert_eq!(refused.why, Why::NotYetValid);
    assert!(refused.to_string().contains("clock is probably behind"), "{refused}");

    let refused = refusal(&authority, &authority.good("s1"), &client, "other.sampan").await;
    assert_eq!(refused.why, Why::WrongName("other.sampan".to_owned()));
    assert!(
        refused.to_string().contains("not one for \"other.sampan\""),
        "{refused}"
    );
}

#[tokio::test]
async fn another_authority_is_named_even_if_it_has_the_same_name() {
    for name in ["sampan cluster b", "sampan cluster a"] {
        let (own, other) = (Authority::new("sampan cluster a"), Authority::new(name));
        let client = own.credentials(&own.good("anna"));
        let refused = refusal(&other, &other.good("s1"), &client, HOST).await;
        assert_eq!(refused.why, Why::Foreign, "{refused}");
        assert!(
            refused.to_string().contains(&format!("\"{name}\" issued it")),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_client_that_is_refused_gets_the_alert() {
    let (authority, other) = (Authority::new("a"), Authority::new("b"));
    let address = echo(&authority.credentials(&authority.good("s1"))).await;
    let expired = authority.credentials(&authority.issue("anna", hours(-48), hours(-1)));
    let stranger = Credentials::new(&authority.ca_pem, &other.good("anna")).unwrap();
    for (client, wanted) in [
        (expired, AlertDescription::CertificateExpired),
        (stranger, AlertDescription::UnknownCA),
    ] {
        let error = Client::dial(&client, address, HOST).await.err().unwrap();
        let found = match &error {
            DialError::Io(error) => alert(error),
            DialError::Tls(error) => alert(error),
            other => panic!("{other}"),
        };
        assert_eq!(found, Some(wanted), "{error}");
    }
}
