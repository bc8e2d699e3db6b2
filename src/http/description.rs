//! The OpenAPI description of the API.
//! Owns: what all operations have in common: the keys of callers, their headers, and the errors.
//! Must not know: what an operation does, and which errors are its own. Each says so itself.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::{
    OpenApi,
    openapi::{
        ContentBuilder, InfoBuilder, License, OpenApi as Document, Ref, RefOr, Required, ResponseBuilder, Server,
        path::{Operation, ParameterBuilder, ParameterIn},
        schema::{ObjectBuilder, Schema, Type},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::error::{ErrorBody, Faults};

/// What every description starts with.
#[derive(OpenApi)]
#[openapi(components(schemas(ErrorBody, Faults)))]
pub(super) struct Start;

const INTRODUCTION: &str = "Get a person's consent once, then valid access tokens for agents.

1. Create a provider (`createProvider`), or pick one of the catalogue on the command line: `agent-auth provider add`.
2. Ask for a token (`authenticate`). `completed` brings it at once. `pending` brings a `url` for the person's browser, and \
an `auth_id`.
3. Wait for the consent (`waitForAuthentication`): it returns as soon as the person has finished, with the token.
4. From then on, `authenticate` returns a valid token at once. Expired ones are refreshed before they are returned.

Send an API key in `X-Api-Key`. Every path below `/v2/auth` also works below `/api-host/v2/auth`. Errors have a sentence \
in `detail` and a `code` for programs; a 429 and a 503 say in `Retry-After` after how many seconds to try again.";

/// How callers identify themselves.
const SCHEMES: [&str; 3] = ["ApiKey", "BearerAuth", "ServiceKey"];

/// What a status means, and the codes that come with it.
const STATUSES: [(&str, &str, &[&str]); 18] = [
    ("200", "Done", &[]),
    ("201", "Created", &[]),
    ("204", "Done; there is no body", &[]),
    ("400", "The request is malformed or ambiguous", &["bad_request"]),
    ("401", "The API key is missing, unknown, expired or revoked", &["unauthorized"]),
    ("403", "The role or the limits of the API key do not permit this", &["forbidden", "outside_key_limits"]),
    ("404", "It does not exist, or not for this caller", &["not_found"]),
    ("408", "The body did not arrive in time", &["request_timeout"]),
    ("409", "It already exists", &["conflict"]),
    ("413", "The body is larger than 256 KiB", &["payload_too_large"]),
    ("414", "The path and the query are longer than 16 KiB", &["uri_too_long"]),
    ("422", "The request has faults; `detail` lists them all", &[]),
    ("429", "More than the limits allow", &["rate_limited", "too_many_failed_keys"]),
    ("431", "The headers are too large or too many", &["headers_too_large"]),
    ("500", "A bug, or a stored secret that cannot be decrypted; the server's log has details", &["internal_error"]),
    ("502", "The provider refuses, or its response cannot be used", &["provider_error", "provider_misconfigured"]),
    (
        "503",
        "Something that this server depends on is unavailable",
        &["database_unavailable", "audit_unavailable", "encryption_unavailable", "identity_unavailable"],
    ),
    ("504", "The provider does not respond in time", &["provider_timeout"]),
];

/// Errors of every operation that needs a key.
const COMMON: [&str; 8] = ["400", "401", "403", "414", "429", "431", "500", "503"];
/// What a 503 means where a provider is called.
const PROVIDER_UNAVAILABLE: &str = "The provider is down or limits requests (`provider_unavailable`), or something that \
                                    this server depends on is unavailable";
/// Further errors of those that read a body.
const WITH_BODY: [&str; 3] = ["408", "413", "422"];

/// What the schemas of responses look like, by their names. Those of requests are beside their fields.
const EXAMPLES: &str = include_str!("examples.json");

/// Adds what the operations have in common.
pub(super) fn complete(mut document: Document) -> Document {
    document.info = InfoBuilder::from(document.info)
        .title("agent-auth")
        .description(Some(INTRODUCTION))
        .license(Some(license()))
        .build();
    // Relative to where the description was read.
    document.servers = Some(vec![Server::new("/")]);
    let components = document.components.get_or_insert_default();
    for (name, scheme) in SCHEMES.into_iter().zip(schemes()) {
        components.add_security_scheme(name, scheme);
    }
    let examples: BTreeMap<String, Value> = serde_json::from_str(EXAMPLES).unwrap_or_default();
    for (name, example) in examples {
        match components.schemas.get_mut(&name) {
            Some(RefOr::T(Schema::Object(schema))) => schema.example = Some(example),
            Some(RefOr::T(Schema::AllOf(schema))) => schema.example = Some(example),
            _ => {}
        }
    }
    document.security = Some(SCHEMES.map(|name| SecurityRequirement::new(name, Vec::<String>::new())).to_vec());
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten() {
            // An operation that lists 502 calls a provider.
            if operation.responses.responses.contains_key("502") {
                add_error(operation, "503", PROVIDER_UNAVAILABLE);
                add_error(operation, "504", "");
            }
            // An operation that is open to browsers says so: `security(())`.
            if operation.security.is_none() {
                add_headers(operation);
                for status in COMMON {
                    add_error(operation, status, "");
                }
            }
            if operation.request_body.is_some() {
                for status in WITH_BODY {
                    add_error(operation, status, "");
                }
            }
            describe_responses(operation);
        }
    }
    document
}

fn license() -> License {
    let mut license = License::new("MIT OR Apache-2.0");
    license.identifier = Some("MIT OR Apache-2.0".into());
    license
}

fn schemes() -> [SecurityScheme; 3] {
    [
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
            "X-Api-Key",
            "An API key of this server (`aauth_...`), or of LangSmith where the server identifies callers through it.",
        ))),
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("The same keys as a bearer token, or a token of LangSmith."))
                .build(),
        ),
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
            "X-Service-Key",
            "A service key of LangSmith, where the server identifies callers through LangSmith.",
        ))),
    ]
}

fn add_headers(operation: &mut Operation) {
    let header = |name: &str, description: &str| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
            .build()
            .into()
    };
    operation.parameters.get_or_insert_default().extend([
        header(
            "X-User-Id",
            "The current user, for whom the caller acts. A key of LangSmith that belongs to a person has its own user.",
        ),
        header("X-Tenant-Id", "The workspace. Needed only where the key does not already name one."),
    ]);
}

/// Adds an error, unless the operation describes it itself. An empty description is replaced by that of the status.
fn add_error(operation: &mut Operation, status: &str, description: &str) {
    let body = if status == "422" { "HTTPValidationError" } else { "ErrorBody" };
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(body))).build();
    let response =
        || ResponseBuilder::new().description(description).content("application/json", content).build().into();
    operation.responses.responses.entry(status.to_owned()).or_insert_with(response);
}

/// Says what each response means, and which codes any operation may return with it; further ones are in its own words.
fn describe_responses(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        let Some((_, meaning, codes)) = STATUSES.iter().find(|(known, ..)| known == status) else { continue };
        if response.description.is_empty() {
            (*meaning).clone_into(&mut response.description);
        }
        if !codes.is_empty() {
            let codes: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
            response.description = format!("{} ({})", response.description, codes.join(", "));
        }
    }
}
