//! The message to the page that opened or embeds one of ours, when an account was connected.
//! Owns: what it says, and to whom it goes; the script that sends it.
//! Must not know: pages.

use axum::response::Response;
use serde_json::json;

use super::{pages::render::javascript, view::View};

/// The script. It acts only on the data of the page that it is on.
const SCRIPT: &str = include_str!("message.js");

/// A message, as it is in a page.
pub struct Message {
    /// What is sent.
    pub(in crate::http) json: String,
    /// The origins to which it is sent, and to no other.
    pub(in crate::http) origins: String,
    /// The path of the script.
    pub(in crate::http) script: String,
}

impl Message {
    /// An account was connected. There is no secret in it. `None` if the settings name no origin.
    pub(in crate::http) fn connected(
        view: &View,
        provider_id: &str,
        auth_id: &str,
        token_id: Option<String>,
    ) -> Option<Self> {
        let mut said = json!({"type": "agent-auth:connected", "provider_id": provider_id, "auth_id": auth_id});
        if let Some(token_id) = token_id {
            said["token_id"] = token_id.into();
        }
        let (origins, script) = (view.brand.embedders.join(" "), path(view));
        view.has_embedders().then(|| Self { json: said.to_string(), origins, script })
    }
}

/// The path of the script.
pub(in crate::http) fn path(view: &View) -> String {
    format!("{}/brand/message.js", view.base)
}

/// Serves the script.
pub async fn script() -> Response {
    javascript(SCRIPT)
}
