//! How much processor time processes have used.
//! Owns: reading /proc.
//! Must not know: what the processes do.

use std::{fs, time::Duration};

use anyhow::Context;

/// Of Linux, wherever this runs.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time that a process has used, with all of its threads.
pub fn of_process(id: u32) -> anyhow::Result<Duration> {
    let stat = Stat::read(id).with_context(|| format!("process {id}"))?;
    Ok(ticks(stat.own))
}

/// The same for PostgreSQL: the process that starts all others, those that run, and those that have ended.
pub fn of_postgres(postmaster: u32) -> anyhow::Result<Duration> {
    let stat = Stat::read(postmaster).with_context(|| format!("process {postmaster}"))?;
    let mut used = stat.own + stat.ended_children;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that has ended meanwhile is no longer there.
        if let Some(child) = Stat::read(id).filter(|stat| stat.parent == postmaster) {
            used += child.own;
        }
    }
    Ok(ticks(used))
}

/// The process that started this one: that of a PostgreSQL session is the one that starts all others.
pub fn parent(id: u32) -> anyhow::Result<u32> {
    Ok(Stat::read(id).with_context(|| format!("process {id}"))?.parent)
}

struct Stat {
    parent: u32,
    /// In ticks.
    own: u64,
    ended_children: u64,
}

impl Stat {
    fn read(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name comes second, in parentheses, and may contain anything.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(number(1)?).ok()?,
            own: number(11)? + number(12)?,
            ended_children: number(13)? + number(14)?,
        })
    }
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / TICKS_PER_SECOND))
}
