//! Ways to a first token: the authorization code flow, devices, static keys, client credentials, and whose account it is.

mod accounts;
mod accounts_userinfo;
mod authorization_url;
mod callback;
mod client_authentication;
mod client_credentials;
mod devices;
mod failed_token_responses;
mod pages;
mod races;
mod refused_consent;
mod static_keys;
mod token_responses;
mod upstream_faults;
