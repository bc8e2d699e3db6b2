//! Standard Webhooks: how a message is signed (<https://www.standardwebhooks.com>).
//! Owns: secrets as applications get them, the headers of a message, and its signature.
//! Must not know: what messages say.

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

/// What secrets begin with.
const PREFIX: &str = "whsec_";

/// A new secret, of 256 random bits.
#[must_use]
pub fn new_secret() -> SecretString {
    let mut random = Zeroizing::new([0_u8; 32]);
    rand::fill(&mut random[..]);
    SecretString::from(format!("{PREFIX}{}", STANDARD.encode(*random)))
}

/// The id of a message, the same in each attempt.
#[must_use]
pub fn message_id(delivery: Uuid) -> String {
    format!("msg_{}", delivery.simple())
}

/// The delivery of a message id, or of its UUID.
#[must_use]
pub fn delivery_of(message_id: &str) -> Option<Uuid> {
    Uuid::try_parse(message_id.strip_prefix("msg_").unwrap_or(message_id)).ok()
}

/// The headers of a message that is sent now. `None` if the secret is not one of ours.
#[must_use]
pub fn headers(
    secret: &SecretString,
    message_id: &str,
    now: DateTime<Utc>,
    body: &str,
) -> Option<[(&'static str, String); 3]> {
    let timestamp = now.timestamp().to_string();
    let key = Zeroizing::new(STANDARD.decode(secret.expose_secret().strip_prefix(PREFIX)?).ok()?);
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{message_id}.{timestamp}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    Some([("webhook-id", message_id.to_owned()), ("webhook-timestamp", timestamp), ("webhook-signature", signature)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference implementations.
    #[test]
    fn a_message_is_signed_as_in_the_specification() {
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let at = DateTime::from_timestamp(1_614_265_330, 0).unwrap();
        let headers = headers(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, r#"{"test": 2432232314}"#).unwrap();
        assert_eq!(headers[1].1, "1614265330");
        assert_eq!(headers[2].1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_message_id_leads_back_to_its_delivery() {
        let id = Uuid::now_v7();
        assert_eq!(delivery_of(&message_id(id)), Some(id));
        assert_eq!(delivery_of(&id.to_string()), Some(id));
        assert_eq!(delivery_of("msg_x"), None);
    }
}
