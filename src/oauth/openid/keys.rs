//! The keys of an identity provider, and what they verify (RFC 7517, RFC 7518, RFC 8037).
//! Owns: which algorithm goes with which key. There is no other way to a verified signature.
//! Must not know: what was signed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;

/// A public key as it is published. Its other members are not read.
#[derive(Clone, Debug, Deserialize)]
pub struct Key {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// A signature algorithm that is accepted. Those with a shared secret are not among them, nor is `none`: a
/// public key would be enough to sign with the former, and the latter needs no key.
pub(super) struct Algorithm {
    name: &'static str,
    kind: Kind,
}

enum Kind {
    Rsa(&'static RsaParameters),
    /// A curve: the type and the name of its keys.
    Curve(&'static str, &'static str, &'static dyn VerificationAlgorithm),
}

static ALGORITHMS: [Algorithm; 9] = [
    Algorithm { name: "RS256", kind: Kind::Rsa(&RSA_PKCS1_2048_8192_SHA256) },
    Algorithm { name: "RS384", kind: Kind::Rsa(&RSA_PKCS1_2048_8192_SHA384) },
    Algorithm { name: "RS512", kind: Kind::Rsa(&RSA_PKCS1_2048_8192_SHA512) },
    Algorithm { name: "PS256", kind: Kind::Rsa(&RSA_PSS_2048_8192_SHA256) },
    Algorithm { name: "PS384", kind: Kind::Rsa(&RSA_PSS_2048_8192_SHA384) },
    Algorithm { name: "PS512", kind: Kind::Rsa(&RSA_PSS_2048_8192_SHA512) },
    Algorithm { name: "ES256", kind: Kind::Curve("EC", "P-256", &ECDSA_P256_SHA256_FIXED) },
    Algorithm { name: "ES384", kind: Kind::Curve("EC", "P-384", &ECDSA_P384_SHA384_FIXED) },
    Algorithm { name: "EdDSA", kind: Kind::Curve("OKP", "Ed25519", &ED25519) },
];

impl Algorithm {
    /// The algorithm of this name, if it is accepted.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        ALGORITHMS.iter().find(|algorithm| algorithm.name == name)
    }
}

impl Key {
    /// Whether this key can have made a signature with that algorithm and, if the signature names its key, that name. The
    /// type of the key decides, not what the signature says of it.
    pub(super) fn fits(&self, algorithm: &Algorithm, kid: Option<&str>) -> bool {
        let is_of_type = match algorithm.kind {
            Kind::Rsa(_) => self.kty == "RSA",
            Kind::Curve(kty, crv, _) => self.kty == kty && self.crv.as_deref() == Some(crv),
        };
        is_of_type
            && self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.alg.as_deref().is_none_or(|alg| alg == algorithm.name)
            && (kid.is_none() || self.kid.as_deref() == kid)
    }

    /// Whether the signature is one of this key, which must fit.
    pub(super) fn verifies(&self, algorithm: &Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let bytes = |member: &Option<String>| URL_SAFE_NO_PAD.decode(member.as_deref()?).ok();
        let verified = match algorithm.kind {
            Kind::Rsa(parameters) => bytes(&self.n).zip(bytes(&self.e)).map(|(n, e)| {
                RsaPublicKeyComponents { n: unpadded(&n), e: unpadded(&e) }.verify(parameters, message, signature)
            }),
            Kind::Curve(kty, _, algorithm) => {
                let point = if kty == "EC" {
                    // Uncompressed (SEC 1 section 2.3.3).
                    bytes(&self.x).zip(bytes(&self.y)).map(|(x, y)| [&[4], &*x, &*y].concat())
                } else {
                    bytes(&self.x)
                };
                point.map(|point| UnparsedPublicKey::new(algorithm, point).verify(message, signature))
            }
        };
        verified.is_some_and(|verified| verified.is_ok())
    }
}

/// Some providers write leading zeros, which RFC 7518 section 6.3.1.1 forbids.
fn unpadded(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The examples of RFC 7515 (appendices A.2 and A.3) and RFC 8037 (appendix A.4): algorithm, key, what was signed, signature.
    fn examples() -> [(&'static str, Value, &'static str, &'static str); 3] {
        let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let rs256: &'static str = Box::leak(format!("eyJhbGciOiJSUzI1NiJ9.{payload}").into_boxed_str());
        let es256: &'static str = Box::leak(format!("eyJhbGciOiJFUzI1NiJ9.{payload}").into_boxed_str());
        [
            (
                "RS256",
                json!({
                    "kty": "RSA",
                    "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
                    "e": "AQAB",
                }),
                rs256,
                "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            ),
            (
                "ES256",
                json!({
                    "kty": "EC",
                    "crv": "P-256",
                    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
                }),
                es256,
                "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            ),
            (
                "EdDSA",
                json!({
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                }),
                "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
                "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
            ),
        ]
    }

    fn key(members: Value) -> Key {
        serde_json::from_value(members).unwrap()
    }

    #[test]
    fn the_examples_of_the_rfcs_are_verified_and_nothing_else_is() {
        for (name, members, message, signature) in examples() {
            let (key, algorithm) = (key(members), Algorithm::named(name).unwrap());
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            assert!(key.fits(algorithm, None) && key.verifies(algorithm, message.as_bytes(), &signature), "{name}");
            let other = message.replace('M', "N");
            assert!(other == message || !key.verifies(algorithm, other.as_bytes(), &signature), "{name}");
            assert!(!key.verifies(algorithm, b"", &signature) && !key.verifies(algorithm, message.as_bytes(), b""));
        }
    }

    #[test]
    fn a_key_is_used_only_for_algorithms_of_its_own_kind() {
        let fitting: Vec<Vec<&str>> = examples()
            .map(|(_, members, ..)| {
                let key = key(members);
                ALGORITHMS
                    .iter()
                    .filter(|algorithm| key.fits(algorithm, None))
                    .map(|algorithm| algorithm.name)
                    .collect()
            })
            .into();
        assert_eq!(fitting, [vec!["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], vec!["ES256"], vec!["EdDSA"]]);
        for refused in ["none", "None", "NONE", "", "HS256", "HS512", "rs256", "RS1", "ES256K"] {
            assert!(Algorithm::named(refused).is_none(), "{refused}");
        }
    }

    #[test]
    fn a_key_for_something_else_does_not_fit() {
        let rsa = |more: Value| {
            let mut members = json!({"kty": "RSA", "n": "AQ", "e": "AQAB", "kid": "one"});
            members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            key(members)
        };
        let algorithm = Algorithm::named("RS256").unwrap();
        assert!(rsa(json!({"use": "sig", "alg": "RS256"})).fits(algorithm, Some("one")));
        assert!(!rsa(json!({})).fits(algorithm, Some("two")));
        assert!(!rsa(json!({"use": "enc"})).fits(algorithm, Some("one")));
        assert!(!rsa(json!({"alg": "PS256"})).fits(algorithm, Some("one")));
        assert!(!rsa(json!({"kty": "oct"})).fits(algorithm, Some("one")));
    }
}
