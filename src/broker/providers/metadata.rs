//! Discovered text: what a server says of itself passes the same rules as what an operator writes.
//! Owns: which rule each field of the metadata has.
//! Must not know: where the metadata was found, or what becomes of it.

use std::iter;

use crate::{
    broker::rules::{self, Problem},
    oauth::{
        discovery::Discovered,
        metadata::{DiscoveryError, ServerMetadata},
    },
    outbound::address::AddressGuard,
};

/// Checks everything that is kept of an MCP server's discovery.
///
/// # Errors
/// [`DiscoveryError::Invalid`] names the first field that breaks its rule.
pub(super) fn check_discovered(discovered: &Discovered, guard: &AddressGuard) -> Result<(), DiscoveryError> {
    let Discovered { resource, scopes, known_scopes, server } = discovered;
    check_server(server, guard)?;
    resource.as_deref().map_or(Ok(()), rules::resource).map_err(invalid("resource"))?;
    scopes.iter().chain(known_scopes).try_for_each(|scope| rules::scope(scope)).map_err(invalid("scopes_supported"))
}

/// Checks the endpoints of an authorization server and its issuer.
///
/// # Errors
/// [`DiscoveryError::Invalid`] names the first field that breaks its rule.
pub(super) fn check_server(server: &ServerMetadata, guard: &AddressGuard) -> Result<(), DiscoveryError> {
    for (field, url) in iter::once(("issuer", server.issuer.as_str())).chain(server.endpoints()) {
        rules::endpoint(guard, url).map_err(invalid(field))?;
    }
    Ok(())
}

fn invalid(field: &'static str) -> impl Fn(Problem) -> DiscoveryError {
    move |(_, problem)| DiscoveryError::Invalid(field, problem)
}
