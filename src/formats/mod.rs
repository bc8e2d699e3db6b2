//! Formats: how other programs write down providers and grants, and how this one does.
//! Owns: reading them into records, and writing them.
//! Must not know: what is done with a record; that is `broker/transfer`.

pub mod age_file;
pub mod auth0;
pub mod fields;
pub mod json_lines;
pub mod langsmith;
pub mod nango;
mod rows;
pub mod table;
