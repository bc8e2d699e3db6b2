//! Providers: their records, the catalogue, the addresses they may have, and the commands that manage them.

mod addresses;
mod catalog;
mod check_all;
mod commands;
mod endpoints;
mod records;
