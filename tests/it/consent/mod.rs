//! Ways to a first token: the authorization code flow, devices, static keys, client credentials, and whose account it is.

mod accounts;
mod authorization_url;
mod binding;
mod callback;
mod client_credentials;
mod deletion_races;
mod devices;
mod exchange;
mod pages;
mod races;
mod refused;
mod static_keys;
