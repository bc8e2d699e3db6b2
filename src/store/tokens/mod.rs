pub mod delete;
pub mod due;
pub mod grant;
mod matching;
pub mod row;
pub(in crate::store) mod shared_reads;
pub mod state;
pub(in crate::store) mod usable;
pub mod usage;
