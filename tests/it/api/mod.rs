//! The HTTP API: bodies, queries, answers, errors and the OpenAPI description.

mod agents;
mod authenticate;
mod errors;
mod limits;
mod openapi;
mod prefixes;
mod token_state;
mod tokens;
mod usage;
mod validation;
mod validation_snapshot;
mod wait;
