pub mod polls;
pub mod row;
