//! A provider by its issuer: what the body does not say is read from the authorization server's metadata.
//! Owns: which field of the metadata becomes which of the body.
//! Must not know: where metadata is looked for, or what a provider may be.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::mcp::not_discovered;
use crate::{
    http::{
        body::{Fields, JsonBody, rules},
        error::ApiError,
    },
    oauth::{
        metadata::{Discovery, ServerMetadata},
        registration::authentication,
    },
    outbound::{address::AddressGuard, client::Outbound},
};

/// The issuer that the body names.
pub(in crate::http) fn named(guard: &AddressGuard, body: &JsonBody) -> Result<Option<String>, ApiError> {
    let mut fields = Fields::of_body(body);
    let issuer = fields.optional_text("issuer", &|url| rules::endpoint(guard, url));
    // What else is wrong with the body is told by whoever reads all of it; only this field is read here.
    if issuer.is_none() && fields.has("issuer") {
        fields.finish()?;
    }
    Ok(issuer)
}

/// The body with what the metadata of `issuer` says, and that metadata.
pub(in crate::http) async fn described(
    outbound: &Outbound,
    issuer: &str,
    mut body: JsonBody,
    now: DateTime<Utc>,
) -> Result<(JsonBody, ServerMetadata), ApiError> {
    let found = Discovery::new(outbound, now).of_issuer(issuer).await;
    let server = found.map_err(|error| not_discovered("issuer", "The issuer was not discovered", &error))?;
    if let Value::Object(fields) = &mut body.0 {
        fill(fields, &server);
    }
    Ok((body, server))
}

/// What stands in the body counts; absent and null are filled in.
fn fill(body: &mut Map<String, Value>, server: &ServerMetadata) {
    let knows_s256 = server.code_challenge_methods_supported.iter().flatten().any(|method| method == "S256");
    let is_public = body.get("client_secret").is_none_or(Value::is_null);
    let method = if is_public { "none" } else { authentication(server).as_str() };
    for (name, value) in [
        ("auth_url", json!(server.authorization_endpoint)),
        ("token_url", json!(server.token_endpoint)),
        ("userinfo_url", json!(server.userinfo_endpoint)),
        ("revocation_url", json!(server.revocation_endpoint)),
        ("device_authorization_url", json!(server.device_authorization_endpoint)),
        ("uses_pkce", json!(knows_s256)),
        ("token_endpoint_auth_method", json!(method)),
    ] {
        if body.get(name).is_none_or(Value::is_null) && !value.is_null() {
            body.insert(name.to_owned(), value);
        }
    }
}
