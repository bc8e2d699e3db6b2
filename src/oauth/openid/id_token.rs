//! The ID token: what must be right before it says who a person is (`OpenID` Connect Core, section 3.1.3.7).
//! Owns: every check of it, in their order.
//! Must not know: where it or the keys came from.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::keys::{Algorithm, Key};

/// How far the provider's clock may be from ours, in seconds.
const SKEW_SECONDS: i64 = 60;
/// No provider has longer ones (`OpenID` Connect Core, section 2).
const SUBJECT_MAX: usize = 255;

/// What an ID token must say.
pub struct Expected<'a> {
    /// The issuer, byte for byte.
    pub issuer: &'a str,
    /// Our client there.
    pub client_id: &'a str,
    /// The nonce of the authorization request.
    pub nonce: &'a str,
}

/// Who somebody is, as a verified ID token says it.
#[derive(Clone, Debug)]
pub struct Claims {
    /// The person, unique and stable at the provider.
    pub subject: String,
    /// All claims.
    pub all: Map<String, Value>,
}

/// Why an ID token proves nothing. Holds nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenFault {
    /// The token response has none.
    #[error("the token response has no ID token; `openid` must be among the scopes")]
    Absent,
    /// It is not three parts of base64url with the JSON that is expected.
    #[error("the ID token is malformed, or lacks a claim that it must have")]
    Malformed,
    /// Its algorithm is not one of those that are accepted.
    #[error("the ID token is signed with an algorithm that is not accepted")]
    Algorithm,
    /// It has extensions that a reader must understand (RFC 7515 section 4.1.11).
    #[error("the ID token has critical extensions, which are not understood")]
    Critical,
    /// No published key can have signed it.
    #[error("the ID token is signed with a key that the identity provider does not publish")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the signature of the ID token is wrong")]
    Signature,
    /// It is of another issuer.
    #[error("the ID token is of another issuer")]
    Issuer,
    /// It is for another client.
    #[error("the ID token is for another client")]
    Audience,
    /// It was given to another client.
    #[error("the ID token was given to another client (`azp`)")]
    AuthorizedParty,
    /// It has expired.
    #[error("the ID token has expired; compare the clocks of this server and the identity provider")]
    Expired,
    /// It is not valid yet.
    #[error("the ID token is not valid yet; compare the clocks of this server and the identity provider")]
    NotYet,
    /// It is of another sign-in.
    #[error("the ID token is of another sign-in (`nonce`)")]
    Nonce,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Checked {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    nonce: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Verifies an ID token with the keys of its provider. Nothing of it is believed before its signature is.
pub fn verify(token: &str, keys: &[Key], expected: &Expected<'_>, now: DateTime<Utc>) -> Result<Claims, IdTokenFault> {
    let (signed, signature) = token.rsplit_once('.').ok_or(IdTokenFault::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(IdTokenFault::Malformed)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| IdTokenFault::Malformed);
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| IdTokenFault::Malformed)?;
    let algorithm = Algorithm::named(&header.alg).ok_or(IdTokenFault::Algorithm)?;
    if header.crit.is_some() {
        return Err(IdTokenFault::Critical);
    }
    let signature = decode(signature)?;
    let mut fitting = keys.iter().filter(|key| key.fits(algorithm, header.kid.as_deref())).peekable();
    fitting.peek().ok_or(IdTokenFault::UnknownKey)?;
    if !fitting.any(|key| key.verifies(algorithm, signed.as_bytes(), &signature)) {
        return Err(IdTokenFault::Signature);
    }
    let payload = decode(payload)?;
    let all: Map<String, Value> = serde_json::from_slice(&payload).map_err(|_| IdTokenFault::Malformed)?;
    let claims: Checked = serde_json::from_slice(&payload).map_err(|_| IdTokenFault::Malformed)?;
    check(&claims, expected, now.timestamp())?;
    Ok(Claims { subject: claims.sub, all })
}

/// The checks of the claims. Times are in seconds since 1970.
fn check(claims: &Checked, expected: &Expected<'_>, now: i64) -> Result<(), IdTokenFault> {
    if claims.iss != expected.issuer {
        return Err(IdTokenFault::Issuer);
    }
    let (is_for_us, is_for_others) = match &claims.aud {
        Audience::One(client) => (client == expected.client_id, false),
        Audience::Several(clients) => (clients.iter().any(|client| client == expected.client_id), clients.len() > 1),
    };
    if !is_for_us {
        return Err(IdTokenFault::Audience);
    }
    match &claims.azp {
        Some(party) if party != expected.client_id => return Err(IdTokenFault::AuthorizedParty),
        None if is_for_others => return Err(IdTokenFault::AuthorizedParty),
        _ => {}
    }
    if now >= claims.exp.saturating_add(SKEW_SECONDS) {
        return Err(IdTokenFault::Expired);
    }
    if claims.nbf.unwrap_or(claims.iat).max(claims.iat) > now.saturating_add(SKEW_SECONDS) {
        return Err(IdTokenFault::NotYet);
    }
    if claims.nonce.as_deref() != Some(expected.nonce) {
        return Err(IdTokenFault::Nonce);
    }
    let is_subject =
        !claims.sub.is_empty() && claims.sub.len() <= SUBJECT_MAX && !claims.sub.contains(char::is_control);
    if is_subject { Ok(()) } else { Err(IdTokenFault::Malformed) }
}
