//! What happens to a stored grant: refresh, revocation, reports, explanation.

pub mod expiry;
pub mod explain;
pub mod refresh;
pub mod report;
pub mod revoke;
pub mod usage;
