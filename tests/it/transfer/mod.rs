//! Grants that come from elsewhere and go there: `agent-auth import` and `agent-auth export`.

mod exports;
mod files;
mod first_refresh;
mod odd_files;
mod once;
mod programs;
mod ten_thousand;

use std::path::PathBuf;

use serde_json::Value;

use crate::support::binary::{Finished, run};
use crate::support::database::Database;

/// Writes a file of the test's own, and returns its path.
fn file(database: &Database, name: &str, content: &str) -> String {
    let path: PathBuf = database.folder.path().join(name);
    std::fs::write(&path, content).expect("a file");
    path.display().to_string()
}

fn lines(records: &[Value]) -> String {
    records.iter().flat_map(|record| [record.to_string(), "\n".to_owned()]).collect()
}

/// Runs `agent-auth import` to its end.
async fn import(database: &Database, arguments: &[&str]) -> Finished {
    run(&[&["import"], arguments].concat(), &database.environment()).await
}
