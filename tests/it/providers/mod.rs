//! Providers: their records, the catalogue, the addresses they may have, and the commands that manage them.

mod addresses;
mod catalog;
mod commands;
mod endpoints;
mod records;
