//! The catalogue: its templates, and a whole flow for each of its providers.

mod facts;
mod flows;
mod own;
mod styles;
mod templates;
mod twins;
