//! `/connections`: the pages on which a person sees, makes and ends their own connections, at a link and without a key.
//! Owns: the link's page, the session that it is exchanged for, and the pages of that session.
//! Must not know: the rules of the broker. A page shows and changes nothing outside the reach of its link.

pub mod connections;
pub mod elsewhere;
pub mod failure;
mod frame;
pub mod link;
pub mod one;
mod session;
mod words;
