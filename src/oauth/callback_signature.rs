//! Signed callbacks: a provider vouches with our client secret for what it sends the browser back with (Shopify).
//! Owns: what is signed, and the comparison.
//! Must not know: what a callback with a wrong signature leads to.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use url::form_urlencoded;

/// The parameter that holds the signature: HMAC-SHA256 in hexadecimal digits.
const PARAMETER: &str = "hmac";

/// True when `query` is signed with `secret`: all of its parameters but the signature itself, in the order of their names.
#[must_use]
pub fn is_signed(query: &SecretString, secret: &SecretString) -> bool {
    let query = query.expose_secret();
    let mut signatures = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == PARAMETER);
    let Some(signature) = signatures.next().and_then(|(_, value)| hex::decode(value.as_bytes()).ok()) else {
        return false;
    };
    // Libraries differ in whether values are signed as they stand in the address. A forger has the secret for neither.
    [decoded(query), as_it_stands(query)].iter().any(|message| {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else { return false };
        mac.update(message.as_bytes());
        mac.verify_slice(&signature).is_ok()
    })
}

fn decoded(query: &str) -> String {
    let escaped = |text: &str| text.replace('%', "%25").replace('&', "%26");
    let mut pairs: Vec<String> = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name != PARAMETER)
        .map(|(name, value)| format!("{}={}", escaped(&name).replace('=', "%3D"), escaped(&value)))
        .collect();
    pairs.sort_unstable();
    pairs.join("&")
}

fn as_it_stands(query: &str) -> String {
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| pair.split('=').next() != Some(PARAMETER)).collect();
    pairs.sort_unstable();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(message: &str, secret: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(message.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    fn holds(query: &str, secret: &str) -> bool {
        is_signed(&SecretString::from(query), &SecretString::from(secret))
    }

    #[test]
    fn every_parameter_is_signed_whatever_their_order() {
        let signature = signed("code=0907a&shop=acme.myshopify.com&state=abc&timestamp=1337178173", "hush");
        let query = format!("timestamp=1337178173&code=0907a&hmac={signature}&state=abc&shop=acme.myshopify.com");
        assert!(holds(&query, "hush"));
        assert!(holds(&query.replace(&signature, &signature.to_uppercase()), "hush"));
        assert!(!holds(&query, "other"));
        for (one, other) in [("0907a", "0907b"), ("acme", "evil"), ("=abc", "=abd"), (signature.as_str(), "")] {
            assert!(!holds(&query.replace(one, other), "hush"), "{other}");
        }
        assert!(!holds(&format!("{query}&more=1"), "hush"));
        assert!(!holds("", "hush") && !holds("hmac=zz", "hush"));
    }

    #[test]
    fn values_are_signed_decoded_or_as_they_stand() {
        let decoded = signed("code=a+b/c=&state=x", "hush");
        assert!(holds(&format!("code=a%2Bb%2Fc%3D&state=x&hmac={decoded}"), "hush"));
        let as_it_stands = signed("code=a%2Bb%2Fc%3D&state=x", "hush");
        assert!(holds(&format!("code=a%2Bb%2Fc%3D&state=x&hmac={as_it_stands}"), "hush"));
    }
}
