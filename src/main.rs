//! The command line's door: parse, hand over, tell in one line what went wrong.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "the one place where a command's failure is told")]
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
