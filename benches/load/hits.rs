//! Requests that find a stored token, under wrk: ours from the database and from memory, and the yardsticks, in turns.
//! Owns: sides, levels, rounds, and what is made of wrk's figures.
//! Must not know: how any side answers.

use std::{collections::BTreeMap, process::Command, time::Duration};

use anyhow::{Context, ensure};

use super::{
    cpu,
    process::{API_KEY, Process, Replica},
    seed, yardstick,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/load/authenticate.lua");
/// What every right answer of ours contains.
const COMPLETED: &str = r#""status":"completed""#;
/// So many users are asked for when the answers come from memory: as many as it holds easily.
const USERS_IN_MEMORY: u32 = 10_000;

/// What is measured, and for how long.
pub struct Plan {
    pub users: u32,
    pub sides: &'static [Side],
    pub levels: &'static [u32],
    pub rounds: usize,
    pub warm_up: &'static str,
    pub round: &'static str,
}

pub const FULL: Plan =
    Plan { users: 100_000, sides: &Side::ALL, levels: &[1, 32, 128], rounds: 3, warm_up: "2s", round: "3s" };
pub const SHORT: Plan =
    Plan { users: 20_000, sides: &Side::ALL, levels: &[1, 32], rounds: 1, warm_up: "1s", round: "3s" };
/// Many rounds of the sides that differ by little.
pub const HANDOUTS: Plan =
    Plan { users: 100_000, sides: &Side::OURS, levels: &[32, 128], rounds: 15, warm_up: "3s", round: "3s" };

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Hello,
    Select,
    Database,
    DatabaseAudited,
    Memory,
    MemoryAudited,
}

impl Side {
    pub const ALL: [Self; 6] =
        [Self::Hello, Self::Select, Self::Database, Self::DatabaseAudited, Self::Memory, Self::MemoryAudited];
    pub const OURS: [Self; 4] = [Self::Database, Self::DatabaseAudited, Self::Memory, Self::MemoryAudited];

    pub fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello: bare axum",
            Self::Select => "select: bare axum + sqlx, one join",
            Self::Database => "TOKEN_CACHE=off",
            Self::DatabaseAudited => "TOKEN_CACHE=off, hand-outs recorded",
            Self::Memory => "TOKEN_CACHE=on",
            Self::MemoryAudited => "TOKEN_CACHE=on, hand-outs recorded",
        }
    }
}

/// The processes that are measured.
pub struct Sides<'p> {
    pub yardstick: &'p Process,
    pub database: &'p Replica,
    pub database_audited: &'p Replica,
    pub memory: &'p Replica,
    pub memory_audited: &'p Replica,
    pub postmaster: u32,
    pub users: u32,
}

/// One side in one round, or the medians of its rounds. Latencies are in milliseconds, processor times in microseconds a
/// request.
#[derive(Clone, Copy)]
pub struct Round {
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
    pub server_cpu: f64,
    pub postgres_cpu: f64,
}

/// All rounds at one number of connections, each with every side of the plan.
pub struct Level {
    pub connections: u32,
    rounds: Vec<BTreeMap<Side, Round>>,
}

impl Level {
    /// The sides that were measured.
    pub fn sides(&self) -> impl Iterator<Item = Side> {
        self.rounds.iter().take(1).flat_map(|round| round.keys().copied())
    }

    pub fn median(&self, side: Side) -> Round {
        let rounds = || self.rounds.iter().filter_map(|round| round.get(&side));
        let of = |figure: fn(&Round) -> f64| median(rounds().map(figure).collect());
        Round {
            per_second: of(|round| round.per_second),
            p50: of(|round| round.p50),
            p99: of(|round| round.p99),
            server_cpu: of(|round| round.server_cpu),
            postgres_cpu: of(|round| round.postgres_cpu),
        }
    }

    /// The rate of one side to that of another, each round on its own: what else the machine does disturbs both. `None`: one
    /// of the two was not measured.
    pub fn ratio(&self, side: Side, to: Side) -> Option<f64> {
        let of = |round: &BTreeMap<Side, Round>| Some(round.get(&side)?.per_second / round.get(&to)?.per_second);
        let ratios: Vec<f64> = self.rounds.iter().filter_map(of).collect();
        (!ratios.is_empty()).then(|| median(ratios))
    }
}

pub fn measure(sides: &Sides<'_>, plan: &Plan) -> anyhow::Result<Vec<Level>> {
    let mut levels = Vec::new();
    for &connections in plan.levels {
        println!("{connections} connections: {} rounds of {} for each side", plan.rounds, plan.round);
        for &side in plan.sides {
            sides.run(side, connections, plan.warm_up, true)?;
        }
        if connections == 1 {
            // One connection alone does not ask for every user while it warms up.
            for side in [Side::Memory, Side::MemoryAudited] {
                sides.run(side, 32, plan.warm_up, false)?;
            }
        }
        let mut rounds = Vec::new();
        for _ in 0..plan.rounds {
            let mut round = BTreeMap::new();
            for &side in plan.sides {
                round.insert(side, sides.run(side, connections, plan.round, false)?);
            }
            rounds.push(round);
        }
        levels.push(Level { connections, rounds });
    }
    Ok(levels)
}

impl Sides<'_> {
    fn process(&self, side: Side) -> &Process {
        match side {
            Side::Hello | Side::Select => self.yardstick,
            Side::Database => &self.database.process,
            Side::DatabaseAudited => &self.database_audited.process,
            Side::Memory => &self.memory.process,
            Side::MemoryAudited => &self.memory_audited.process,
        }
    }

    fn run(&self, side: Side, connections: u32, duration: &str, look: bool) -> anyhow::Result<Round> {
        let process = self.process(side);
        let (path, right) = match side {
            Side::Hello => (yardstick::HELLO, yardstick::GREETING),
            Side::Select => (yardstick::SELECT, r#""expires_at":"2"#),
            _ => ("/v2/auth/authenticate", COMPLETED),
        };
        let users = match side {
            Side::Memory | Side::MemoryAudited => USERS_IN_MEMORY,
            _ => self.users,
        };
        let url = format!("http://{}{path}", process.address);
        let used = || anyhow::Ok((cpu::of_process(process.id())?, cpu::of_postgres(self.postmaster)?));
        let before = used()?;
        let (requests, mut round) = wrk(&url, connections, duration, users, look.then_some(right))?;
        let after = used()?;
        let each = |after: Duration, before: Duration| after.saturating_sub(before).as_secs_f64() * 1e6 / requests;
        round.server_cpu = each(after.0, before.0);
        round.postgres_cpu = each(after.1, before.1);
        Ok(round)
    }
}

/// How many requests there were, and everything but the processor times.
fn wrk(
    url: &str,
    connections: u32,
    duration: &str,
    users: u32,
    right: Option<&'static str>,
) -> anyhow::Result<(f64, Round)> {
    let (connections, users) = (format!("-c{connections}"), users.to_string());
    let mut command = Command::new("wrk");
    command.args(["-t1", &connections, "-d", duration, "-s", SCRIPT, url, "--", API_KEY]);
    command.args([seed::PROVIDER, seed::SCOPE, &users]).args(right);
    let done = command.output().context("wrk cannot be run; it is Debian's package `wrk`")?;
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    ensure!(done.status.success(), "wrk at {url}: {err}");
    let figures = out.lines().find_map(|line| line.strip_prefix("figures ")).context("wrk gave no figures")?;
    let figures: Vec<f64> = figures.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [requests, microseconds, p50, p99, failures] = figures[..] else {
        anyhow::bail!("wrk gave other figures: {figures:?}")
    };
    ensure!(failures == 0.0 && requests > 0.0, "{failures} of {requests} requests failed at {url}:\n{out}");
    let per_second = requests * 1e6 / microseconds;
    Ok((requests, Round { per_second, p50: p50 / 1e3, p99: p99 / 1e3, server_cpu: 0.0, postgres_cpu: 0.0 }))
}

/// The middle one; of an even number, the upper of the two.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
