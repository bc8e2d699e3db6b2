//! What the operator says of an import from Nango.
//! Owns: the choices.
//! Must not know: how rows are read.

use std::collections::HashMap;

/// Whose a grant becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserFrom {
    /// The end user's id, where the connection has one; else its id.
    #[default]
    EndUser,
    /// The connection's id.
    Connection,
}

impl UserFrom {
    /// Both, by their names on the command line.
    pub const NAMES: [(&'static str, Self); 2] = [("end-user", Self::EndUser), ("connection-id", Self::Connection)];
}

/// What the operator says of the import.
#[derive(Debug, Default)]
pub struct Choices {
    /// The schema of the tables.
    pub schema: String,
    /// The name of the environment; `None` if there is only one.
    pub environment: Option<String>,
    /// Integrations that have another id here.
    pub providers: HashMap<String, String>,
    /// Integrations whose entry in the catalogue has another name than Nango gives the provider.
    pub templates: HashMap<String, String>,
    /// Whose a grant becomes.
    pub user_from: UserFrom,
}
