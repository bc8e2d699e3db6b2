//! The soak test in short: calls while grants expire, kills and faults under mixed load.
//! `scripts/soak` runs the same code of `benches/soak` for longer.
#![allow(clippy::print_stdout, reason = "a soak shows its progress and its figures")]

#[path = "../../../benches/soak/client.rs"]
mod client;
#[path = "../../../benches/soak/crowd.rs"]
mod crowd;
#[path = "../../../benches/soak/expiries.rs"]
mod expiries;
#[path = "../../../benches/soak/figures.rs"]
mod figures;
#[path = "../../../benches/soak/kills.rs"]
mod kills;

use self::figures::Figures;
use crate::support::database::Database;

const PLAN: kills::Plan = kills::Plan { kills: 10, faults: 10 };

#[track_caller]
fn is_as_promised(figures: &Figures) {
    figures.print();
    assert!(figures.are_as_promised(), "a promise was violated; the table says which");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_expired_grant_is_refreshed_once_over_two_replicas() {
    is_as_promised(&expiries::run(Database::postgres().await, 1500).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_faults_break_no_promise_on_postgres() {
    is_as_promised(&kills::run("PostgreSQL, two replicas", Database::postgres().await, 2, PLAN).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_faults_break_no_promise_on_sqlite() {
    is_as_promised(&kills::run("SQLite", Database::sqlite(), 1, PLAN).await);
}
