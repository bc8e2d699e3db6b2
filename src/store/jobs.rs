//! Jobs: background work that one replica does at a time.
//! Owns: the table `jobs`; that a job is taken once.
//! Must not know: what a job does.

use std::time::Duration;

use uuid::Uuid;

use super::{db::milliseconds, error::StoreError, handle::Store};

impl Store {
    /// Takes the job `name` for this time, by the database's clock. One replica gets it, in one statement;
    /// `false` while another one has it. Jobs belong to the installation and not to a tenant.
    pub async fn take_job(&self, name: &'static str, owner: Uuid, time: Duration) -> Result<bool, StoreError> {
        let taken: Option<(String,)> = self
            .db
            .query(
                "INSERT INTO jobs (name, owner, until) VALUES ($1, $2, (SELECT now_ms FROM database_clock) + $3)
                 ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
                 WHERE jobs.until < (SELECT now_ms FROM database_clock)
                 RETURNING name",
            )
            .bind(name.to_owned())
            .bind(owner)
            .bind(milliseconds(time))
            .optional()
            .await?;
        Ok(taken.is_some())
    }

    /// Releases a job before its time-out. Does nothing if another replica has it now.
    pub async fn give_job_back(&self, name: &'static str, owner: Uuid) -> Result<(), StoreError> {
        self.db
            .query("UPDATE jobs SET until = 0 WHERE name = $1 AND owner = $2")
            .bind(name.to_owned())
            .bind(owner)
            .execute()
            .await?;
        Ok(())
    }
}
