//! Deleting tokens here and revoking them at the provider.

mod deletions;
mod races;
mod slack;
mod wire;
