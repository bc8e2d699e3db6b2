pub mod callback;
pub mod key_entry;
pub mod pages;
