//! Printing from commands.
//! Owns: standard output and standard error.
//! Must not know: what is printed.

use std::io::Write;

use anyhow::Context;

/// Prints a line on standard output and flushes it, so that a pipe sees it at once.
///
/// # Errors
/// Standard output is closed.
pub fn print(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("standard output is closed")
}

/// Prints a line for people on standard error. Standard output is for what other programs read.
///
/// # Errors
/// Standard error is closed.
pub fn explain(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stderr(), "{line}").context("standard error is closed")
}
