//! Acts: who does something, and through which request.
//! Owns: what of a request the audit log records.
//! Must not know: how a caller proves who they are.

use std::{convert::Infallible, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};

use super::app::App;
use crate::model::actor::{Act, ActorKind};

/// The act as it comes through this request.
pub fn through(parts: &Parts, app: &App, act: Act) -> Act {
    let id = parts.headers.get("x-request-id").and_then(|id| id.to_str().ok());
    let address = app.limits.client(&parts.extensions, &parts.headers);
    Act { request_id: id.map(ToOwned::to_owned), address, ..act }
}

/// The act of a browser that opened one of our pages.
pub struct BrowserAct(pub Act);

impl FromRequestParts<Arc<App>> for BrowserAct {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        Ok(Self(through(parts, app, Act::new(ActorKind::Browser, None))))
    }
}
