//! Client authentication: how our client proves who it is in a request (RFC 6749 section 2.3).
//! Owns: the one decision between header, body and neither, and how each is written.
//! Must not know: what is requested.

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{
    RequestBuilder,
    header::{AUTHORIZATION, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::model::client::{Client, ClientAuthentication};

/// How a client authenticates in one request.
pub(super) enum Authentication<'a> {
    /// HTTP Basic. Servers built with the MCP SDK also read the client id in the body (RFC 6749 section 3.2.1 allows it).
    Header { id: Id<'a>, secret: &'a SecretString, id_in_body: bool },
    /// Client id and client secret in the body.
    Body { id: Id<'a>, secret: &'a SecretString },
    /// A public client: the client id in the body.
    Public { id: Id<'a> },
}

/// The client id, and what the provider calls it in a body.
#[derive(Clone, Copy)]
pub(super) struct Id<'a> {
    name: &'a str,
    value: &'a str,
}

impl<'a> Authentication<'a> {
    pub(super) fn of(client: &'a Client) -> Self {
        let id = Id { name: client.options.client_id_parameter(), value: &client.id };
        match (client.authentication, &client.secret) {
            (ClientAuthentication::ClientSecretBasic, Some(secret)) => {
                Self::Header { id, secret, id_in_body: client.options.issuer.is_some() }
            }
            (ClientAuthentication::ClientSecretPost, Some(secret)) => Self::Body { id, secret },
            (ClientAuthentication::None, _) | (_, None) => Self::Public { id },
        }
    }

    /// What is sent in the body.
    pub(super) fn fields(&self) -> Vec<(&'a str, &'a str)> {
        match *self {
            Self::Header { id_in_body: false, .. } => Vec::new(),
            Self::Header { id, .. } | Self::Public { id } => vec![(id.name, id.value)],
            Self::Body { id, secret } => vec![(id.name, id.value), ("client_secret", secret.expose_secret())],
        }
    }

    /// The request with what is sent in its header.
    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Header { id, secret, .. } => request.header(AUTHORIZATION, basic(id.value, secret)),
            Self::Body { .. } | Self::Public { .. } => request,
        }
    }
}

fn basic(id: &str, secret: &SecretString) -> HeaderValue {
    let credentials = STANDARD.encode(basic_credentials(id, secret));
    let mut value =
        HeaderValue::from_str(&format!("Basic {credentials}")).unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

/// Id and secret are form-encoded before they become user name and password (RFC 6749 section 2.3.1).
pub(super) fn basic_credentials(id: &str, secret: &SecretString) -> Zeroizing<String> {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    Zeroizing::new(format!("{}:{}", encode(id), encode(secret.expose_secret())))
}
