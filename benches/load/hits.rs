//! Authenticate requests that find a stored token, under wrk, ours and the yardstick in turns.
//! Owns: levels, rounds, and what is made of wrk's figures.
//! Must not know: how either side answers.

use std::process::Command;

use anyhow::{Context, ensure};

use super::{
    process::{API_KEY, Process, Replica},
    seed, yardstick,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/load/authenticate.lua");
const TARGETS: [(u32, &str); 3] = [(1, ""), (32, "at least 0.90"), (128, "at least 0.90")];
const ROUNDS: usize = 5;
const WARM_UP: &str = "2s";
const ROUND: &str = "5s";

/// One side in one round, or the medians of its rounds. Times are in milliseconds.
#[derive(Clone, Copy)]
pub struct Round {
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
}

/// All rounds at one number of connections.
pub struct Level {
    pub connections: u32,
    pub target: &'static str,
    rounds: Vec<(Round, Round)>,
}

impl Level {
    pub fn ours(&self) -> Round {
        medians(&self.rounds.iter().map(|(ours, _)| *ours))
    }

    pub fn yardstick(&self) -> Round {
        medians(&self.rounds.iter().map(|(_, yardstick)| *yardstick))
    }

    /// Ours to the yardstick's, of neighbouring runs: what else the machine does disturbs both.
    pub fn ratios(&self) -> Vec<f64> {
        self.rounds.iter().map(|(ours, yardstick)| ours.per_second / yardstick.per_second).collect()
    }

    pub fn ratio(&self) -> f64 {
        median(self.ratios())
    }
}

/// One of the two sides.
struct Side {
    url: String,
    /// What every right answer contains.
    right: &'static str,
}

pub fn measure(ours: &Replica, yardstick: &Process) -> anyhow::Result<Vec<Level>> {
    let ours =
        Side { url: format!("http://{}/v2/auth/authenticate", ours.process.address), right: r#""status":"completed""# };
    let yardstick =
        Side { url: format!("http://{}{}", yardstick.address, yardstick::PATH), right: r#""expires_at":"2"# };
    let mut levels = Vec::new();
    for (connections, target) in TARGETS {
        println!("{connections} connections: {ROUNDS} rounds of {ROUND} each");
        for side in [&ours, &yardstick] {
            wrk(side, connections, WARM_UP, true)?;
        }
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let ours = wrk(&ours, connections, ROUND, false)?;
            rounds.push((ours, wrk(&yardstick, connections, ROUND, false)?));
        }
        levels.push(Level { connections, target, rounds });
    }
    Ok(levels)
}

fn wrk(side: &Side, connections: u32, duration: &str, look: bool) -> anyhow::Result<Round> {
    let connections = format!("-c{connections}");
    let users = seed::USERS.to_string();
    let mut command = Command::new("wrk");
    command.args(["-t1", &connections, "-d", duration, "-s", SCRIPT, &side.url, "--", API_KEY]);
    command.args([seed::PROVIDER, seed::SCOPE, &users]).args(look.then_some(side.right));
    let done = command.output().context("wrk cannot be run; it is Debian's package `wrk`")?;
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), "wrk at {}: {err}", side.url);
    let figures = out.lines().find_map(|line| line.strip_prefix("figures ")).context("wrk gave no figures")?;
    let figures: Vec<f64> = figures.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [requests, microseconds, p50, p99, failures] = figures[..] else {
        anyhow::bail!("wrk gave other figures: {figures:?}")
    };
    ensure!(failures == 0.0 && requests > 0.0, "{failures} of {requests} requests failed at {}:\n{out}", side.url);
    Ok(Round { per_second: requests * 1e6 / microseconds, p50: p50 / 1e3, p99: p99 / 1e3 })
}

fn medians(rounds: &(impl Iterator<Item = Round> + Clone)) -> Round {
    let of = |figure: fn(Round) -> f64| median(rounds.clone().map(figure).collect());
    Round { per_second: of(|round| round.per_second), p50: of(|round| round.p50), p99: of(|round| round.p99) }
}

/// The middle one; of an even number, the upper of the two.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
