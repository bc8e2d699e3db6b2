//! Which account of a user a token belongs to, and which one is given.

mod choice;
mod userinfo;
