//! Providers: their records, the catalogue, the addresses they may have, and the commands that manage them.

mod address_guard;
mod addresses;
mod catalog;
mod catalog_commands;
mod catalog_flows;
mod commands;
mod records;
