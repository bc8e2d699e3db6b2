//! The binary: parses the command line, runs the command, and prints a failure in one line.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "the one place that prints a command's failure")]
async fn main() -> ExitCode {
    let cli = agent_auth::cli::Cli::parse();
    match Box::pin(agent_auth::cli::run(cli)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agent-auth: {error:#}");
            ExitCode::FAILURE
        }
    }
}
