//! Soak: the promises about refreshed grants, kept under load, kills and faults for as long as it takes. `scripts/soak` runs it.
//! Owns: the arguments, the order of the runs, and the table of figures.
//! Must not know: how a run is done. A violated promise makes it fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a run that cannot go on panics, looks at the database from outside, and prints figures"
)]

#[path = "soak/client.rs"]
mod client;
#[path = "soak/crowd.rs"]
mod crowd;
#[path = "soak/expiries.rs"]
mod expiries;
#[path = "soak/figures.rs"]
mod figures;
#[path = "soak/kills.rs"]
mod kills;
#[path = "../tests/it/support/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "the integration suite uses the rest of it")]
mod support;

use std::process::ExitCode;

use figures::Figures;
use support::database::Database;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::read(std::env::args().skip(1));
    let mut as_promised = true;
    let mut done = |figures: Figures| {
        figures.print();
        as_promised &= figures.are_as_promised();
    };
    if arguments.calls > 0 {
        done(expiries::run(Database::postgres().await, arguments.calls).await);
    }
    if arguments.kills > 0 {
        let plan = kills::Plan { kills: arguments.kills, faults: arguments.faults };
        done(kills::run("PostgreSQL, two replicas", Database::postgres().await, 2, plan).await);
        done(kills::run("SQLite", Database::sqlite(), 1, plan).await);
    }
    if as_promised { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `calls=10000 kills=500 faults=100`, each of which may be left out; 0 leaves out the run.
struct Arguments {
    calls: usize,
    kills: usize,
    faults: usize,
}

impl Arguments {
    fn read(given: impl Iterator<Item = String>) -> Self {
        let mut arguments = Self { calls: 10_000, kills: 500, faults: 100 };
        // Cargo adds `--bench` to what it was told.
        for argument in given.filter(|argument| argument != "--bench") {
            let number = argument.split_once('=').and_then(|(name, number)| Some((name, number.parse().ok()?)));
            match number {
                Some(("calls", number)) => arguments.calls = number,
                Some(("kills", number)) => arguments.kills = number,
                Some(("faults", number)) => arguments.faults = number,
                _ => panic!("`{argument}` is none of calls=N, kills=N, faults=N"),
            }
        }
        arguments
    }
}
