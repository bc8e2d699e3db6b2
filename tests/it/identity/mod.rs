//! Who calls, and what they may reach.

mod callers;
mod isolation;
mod langsmith;
