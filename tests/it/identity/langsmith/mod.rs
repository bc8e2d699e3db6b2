//! `IDENTITY=langsmith`: LangSmith says who calls.

mod clients;
mod cookies;
mod faults;
mod identities;
mod limits;
mod memory;
mod settings;
