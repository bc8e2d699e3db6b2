//! A consent belongs to the person whom it was begun for: callback addresses, the page before it, the application's word.

mod addresses;
mod attacks;
mod confirm;
mod links;
mod modes;
mod pages;
mod return_urls;
mod verify;
