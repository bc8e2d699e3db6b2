//! Who calls, and what they may reach.

mod callers;
mod isolation;
mod key_limits;
mod langsmith;
mod random_rows;
mod rights_that_end;
pub mod routes;
