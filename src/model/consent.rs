//! How strictly a consent is bound to the person whom it was begun for.
//! Owns: the modes, and their order.
//! Must not know: how any of them is enforced.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How strictly a consent is bound, the least strict mode first; each includes the ones before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = ConsentMode)]
pub enum Consent {
    /// The person is sent straight to the provider; whichever browser comes back completes the request.
    #[default]
    Direct,
    /// A page of ours says who asks for what, and only the browser that went on from there completes the request.
    Confirm,
    /// The application also confirms, after the consent, which user it was.
    Verify,
}

impl Consent {
    /// Every mode, by its name in settings and on the wire.
    pub const NAMES: [(&'static str, Self); 3] =
        [("direct", Self::Direct), ("confirm", Self::Confirm), ("verify", Self::Verify)];

    /// The mode of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, mode)| *mode)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Confirm => "confirm",
            Self::Verify => "verify",
        }
    }
}
