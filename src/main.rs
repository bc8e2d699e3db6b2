//! The binary: parses the command line, runs the command, and prints a failure in one line.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = agent_auth::cli::Cli::parse();
    match Box::pin(agent_auth::cli::run(cli)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody hears of it where standard error is closed.
            let _ = agent_auth::terminal::explain(&format!("agent-auth: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
