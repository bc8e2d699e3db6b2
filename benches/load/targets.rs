//! The table of the hits: every side beside its yardstick, with its target.
//! Owns: the targets, and which regression is a gross one.
//! Must not know: how the figures were taken.

use anyhow::{Context, ensure};

use super::hits::{Level, Side};

/// The least ratio of one side's rate to another's, at some numbers of connections.
struct Target {
    side: Side,
    to: Side,
    at: &'static [u32],
    least: f64,
}

const TARGETS: [Target; 6] = [
    Target { side: Side::Database, to: Side::Select, at: &[1], least: 1.0 },
    Target { side: Side::Database, to: Side::Select, at: &[32, 128], least: 2.2 },
    Target { side: Side::DatabaseAudited, to: Side::Database, at: &[32, 128], least: 0.9 },
    Target { side: Side::MemoryAudited, to: Side::Memory, at: &[32, 128], least: 0.9 },
    Target { side: Side::Memory, to: Side::Select, at: &[32, 128], least: 3.5 },
    Target { side: Side::Memory, to: Side::Hello, at: &[32, 128], least: 0.6 },
];

fn short(side: Side) -> &'static str {
    match side {
        Side::Hello => "hello",
        Side::Select => "select",
        other => other.name(),
    }
}

pub fn print(levels: &[Level]) {
    println!(
        "\nPOST /v2/auth/authenticate with a stored token, beside bare axum handlers; processor time in us a request"
    );
    println!(
        "{:>5} | {:<36} | {:>8} {:>8} {:>8} | {:>6} {:>10} | {:>8} {:>8} | targets",
        "conns", "", "a second", "p50 ms", "p99 ms", "server", "PostgreSQL", "x select", "x hello"
    );
    for level in levels {
        for side in level.sides() {
            let round = level.median(side);
            println!(
                "{:>5} | {:<36} | {:>8.0} {:>8.2} {:>8.2} | {:>6.1} {:>10.1} | {:>8} {:>8} | {}",
                level.connections,
                side.name(),
                round.per_second,
                round.p50,
                round.p99,
                round.server_cpu,
                round.postgres_cpu,
                ratio(level, side, Side::Select),
                ratio(level, side, Side::Hello),
                of(level, side).collect::<Vec<_>>().join(", ")
            );
        }
    }
}

fn ratio(level: &Level, side: Side, to: Side) -> String {
    level.ratio(side, to).map(|ratio| format!("{ratio:.2}")).unwrap_or_default()
}

/// The targets of a side at a level, each with what was measured.
fn of(level: &Level, side: Side) -> impl Iterator<Item = String> {
    let targets = TARGETS.iter().filter(move |target| target.side == side && target.at.contains(&level.connections));
    targets.filter_map(|target| {
        let ratio = level.ratio(target.side, target.to)?;
        let met = if ratio >= target.least { "met" } else { "MISSED" };
        Some(format!("{ratio:.2} of {}, at least {:.1}: {met}", short(target.to), target.least))
    })
}

/// Fails if a rate is less than half of what its target says. A busy machine alone does not do that: it disturbs both
/// sides.
pub fn refuse_gross_regressions(levels: &[Level]) -> anyhow::Result<()> {
    for level in levels {
        for target in TARGETS.iter().filter(|target| target.at.contains(&level.connections)) {
            let ratio = level.ratio(target.side, target.to).context("a side of a target was not measured")?;
            ensure!(
                ratio >= target.least / 2.0,
                "{} at {} connections: {ratio:.2} of {}, which is less than half of the target {:.1}",
                target.side.name(),
                level.connections,
                target.to.name(),
                target.least
            );
        }
    }
    Ok(())
}
