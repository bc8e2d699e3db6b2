//! Nouns that several layers share.
//! Owns: what a record is, in types.
//! Must not know: databases, the wire, or any I/O.

pub mod client;
pub mod options;
