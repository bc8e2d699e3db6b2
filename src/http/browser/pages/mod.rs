//! The pages: how a consent ended, and what to do next.
//! Owns: the words, the look, the headers, and the cleaning of texts that others wrote.
//! Must not know: how a consent is carried out, or where any of these texts came from.

pub mod connect;
pub mod key;
pub mod outcome;
pub mod page;
pub mod render;
pub mod start;
#[cfg(test)]
mod tests;
pub(in crate::http) mod text;
