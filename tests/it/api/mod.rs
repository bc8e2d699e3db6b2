//! The HTTP API: bodies, queries, answers, errors and the OpenAPI description.

mod validation_snapshot;
