//! Signs of life: what an entry's endpoints answer to a client that they do not know.
//! Owns: what a response tells of the entry, where no client of ours is registered.
//! Must not know: which entries are checked, or how findings are shown.

use chrono::{DateTime, Utc};
use url::Url;

use super::{
    probe::{Finding, MADE_UP, VERIFIER, Verdict, finding},
    token::send,
    token_response::{Reading, read},
};
use crate::{
    model::{
        client::Client,
        failure::FailureKind,
        quirks::{ErrorCodes, Quirks},
    },
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
    let answer = match send(outbound, Endpoint::Token, client, url, fields, now).await {
        Ok((answer, _)) => answer,
        // Whether that passes, only another try shows.
        Err(failure) => {
            let passes = failure.kind == FailureKind::TimedOut;
            let verdict = if passes { Verdict::Unclear } else { Verdict::Wrong };
            return finding(of, verdict, failure.error_description.unwrap_or(failure.error));
        }
    };
    let status = answer.status;
    if matches!(status, 408 | 429 | 500..) {
        return finding(of, Verdict::Unclear, format!("is busy or broken (status {status}); try again later"));
    }
    match read(&answer, quirks, now) {
        Reading::Granted(_) => {
            finding(of, Verdict::Wrong, "gave a token for a made-up code: it is no provider's token endpoint")
        }
        _ if (300..400).contains(&status) => {
            finding(of, Verdict::Wrong, format!("redirects (status {status}), which a token request does not follow"))
        }
        _ if matches!(status, 405 | 410) => finding(of, Verdict::Wrong, format!("status {status}: nothing is there")),
        Reading::Refused(refused) => {
            let code = shown(&refused.error);
            if is_known(&refused.error, &quirks.errors) {
                finding(of, Verdict::Right, format!("refuses with {code}"))
            } else {
                let said = format!("refuses with {code} (status {status}), which neither OAuth nor the entry names");
                finding(of, Verdict::Unclear, said)
            }
        }
        _ if status == 404 => finding(of, Verdict::Wrong, format!("status {status}: nothing is there")),
        Reading::Malformed(_) | Reading::Unreadable => {
            finding(of, Verdict::Unclear, format!("answers with status {status}, and not with an OAuth error"))
        }
    }
}

/// An error code without what a terminal could take for more than text.
fn shown(code: &str) -> String {
    code.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(CODE_MAX).collect()
}

/// True for a refusal of a token endpoint: of RFC 6749 section 5.2, or of the entry.
fn is_known(code: &str, own: &ErrorCodes) -> bool {
    const OF_OAUTH: [&str; 7] = [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "access_denied",
    ];
    let own = [&own.dead_grant, &own.misconfigured_client, &own.unknown_grant];
    OF_OAUTH.contains(&code) || own.into_iter().flatten().any(|known| known == code)
}

/// True for the scripted providers of tests.
fn is_this_machine(host: &str) -> bool {
    matches!(host, "127.0.0.1" | "[::1]" | "localhost")
}
