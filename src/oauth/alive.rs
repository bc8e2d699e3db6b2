//! Signs of life: what an entry's endpoints answer to a client that they do not know.
//! Owns: what a response tells of the entry, where no client of ours is registered.
//! Must not know: which entries are checked, or how findings are shown.

use chrono::{DateTime, Utc};
use url::Url;

use super::{
    probe::{Finding, MADE_UP, VERIFIER, Verdict, finding},
    token::ask,
    token_response::{Reading, read},
};
use crate::{
    model::{client::Client, failure::FailureKind, quirks::Quirks},
    outbound::client::Outbound,
    telemetry::metrics::Endpoint,
};

/// The longest error code that is shown.
const CODE_MAX: usize = 60;

/// Brings a made-up code to the token endpoint, as a client that is not registered there. It has to refuse, in the form of
/// RFC 6749 section 5.2 or in one that its entry names.
pub async fn token(
    outbound: &Outbound,
    client: &Client,
    quirks: &Quirks,
    redirect_uri: &str,
    pkce: bool,
    now: DateTime<Utc>,
) -> Finding {
    let of = "token endpoint";
    let url = &client.token_url;
    if Url::parse(url).is_ok_and(|url| url.scheme() != "https" && !url.host_str().is_some_and(is_this_machine)) {
        return finding(of, Verdict::Wrong, "the entry's URL is not https");
    }
    let mut fields = vec![("grant_type", "authorization_code"), ("code", MADE_UP), ("redirect_uri", redirect_uri)];
    if pkce {
        fields.push(("code_verifier", VERIFIER));
    }
    let answer = match ask(outbound, Endpoint::Token, client, url, fields, now).await {
        Ok((answer, _)) => answer,
        Err(failure) if failure.kind == FailureKind::RateLimited => {
            return finding(of, Verdict::Unclear, "limits our rate; try again later");
        }
        Err(failure) => return finding(of, Verdict::Wrong, failure.error_description.unwrap_or(failure.error)),
    };
    let status = answer.status;
    match read(&answer, quirks, now) {
        Reading::Granted(_) => {
            finding(of, Verdict::Wrong, "gave a token for a made-up code: it is no provider's token endpoint")
        }
        Reading::Refused(refused) => {
            let code: String =
                refused.error.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(CODE_MAX).collect();
            finding(of, Verdict::Right, format!("refuses with {code}"))
        }
        _ if (300..400).contains(&status) => {
            finding(of, Verdict::Wrong, format!("redirects (status {status}), which a token request does not follow"))
        }
        _ if matches!(status, 404 | 405 | 410) => {
            finding(of, Verdict::Wrong, format!("status {status}: nothing is there"))
        }
        Reading::Malformed(_) | Reading::Unreadable => {
            finding(of, Verdict::Unclear, format!("answers with status {status}, and not with an OAuth error"))
        }
    }
}

/// True for the scripted providers of tests.
fn is_this_machine(host: &str) -> bool {
    matches!(host, "127.0.0.1" | "[::1]" | "localhost")
}
