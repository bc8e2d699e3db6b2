//! The HTTP API: bodies, queries, answers, errors and the OpenAPI description.

mod admin_tokens;
mod agents;
mod authenticate;
mod heads;
mod openapi;
mod routes;
mod tokens;
mod validation;
mod wait;
