//! Nango: the integrations and connections of a self-hosted Nango, read from its PostgreSQL database.
//! Owns: its tables, and that nothing is written to them.
//! Must not know: what is done with a record.
//!
//! Rows are read as JSON: its schema grows with each version, and a column that one version does not have is then absent.

mod choices;
mod credentials;
mod rows;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, str::FromStr, time::Duration};

use anyhow::{Context, anyhow, bail};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};

use self::rows::{Integration, connection_record};
pub use self::{
    choices::{Choices, UserFrom},
    credentials::Key,
};
use crate::broker::transfer::records::Record;

/// How long a connection and a statement may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// So many connections are read at a time.
const PAGE: i64 = 500;
const ENVIRONMENTS: &str = "_nango_environments";
const CONFIGS: &str = "_nango_configs";
const CONNECTIONS: &str = "_nango_connections";
/// Older versions do not have it.
const END_USERS: &str = "end_users";

/// An open database of Nango.
pub struct Nango {
    connection: PgConnection,
    choices: Choices,
    key: Option<Key>,
    environment_id: i64,
    integrations: Vec<Integration>,
    /// The application's id of each end user, by the row's id.
    end_users: HashMap<i64, String>,
    after: i64,
}

impl Nango {
    /// Opens the database, and reads its integrations. Nothing is written to it.
    ///
    /// # Errors
    /// When it cannot be reached or is not Nango's, when the environment must be named, and when a key is needed or wrong.
    pub async fn open(url: &SecretString, key: Option<Key>, choices: Choices) -> anyhow::Result<Self> {
        let plain = choices.schema.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !plain || choices.schema.is_empty() {
            bail!("--schema: expected letters, digits and _");
        }
        // The URL holds a password, which an error of its parser may repeat.
        let options = PgConnectOptions::from_str(url.expose_secret())
            .map_err(|_| anyhow!("the URL of Nango's database is not like postgres://user:password@host:5432/nango"))?
            .options([("default_transaction_read_only", "on"), ("statement_timeout", "25s")]);
        let connection = tokio::time::timeout(TIMEOUT, PgConnection::connect_with(&options)).await;
        let connection = connection.map_err(|_| anyhow!("Nango's database does not respond"))?;
        let connection = connection.context("Nango's database cannot be reached")?;
        let mut nango = Self {
            connection,
            choices,
            key,
            environment_id: 0,
            integrations: Vec::new(),
            end_users: HashMap::new(),
            after: 0,
        };
        nango.environment_id = nango.environment().await?;
        nango.read_integrations().await?;
        if nango.has_table(END_USERS).await? {
            let rows = nango.rows(END_USERS, 0, i64::MAX).await?;
            nango.end_users = rows.iter().filter_map(rows::end_user).collect();
        }
        Ok(nango)
    }

    /// The integrations as records, each with its place.
    #[must_use]
    pub fn providers(&self) -> Vec<(String, Record)> {
        let place = |integration: &Integration| format!("integration {}", integration.unique_key);
        self.integrations.iter().map(|one| (place(one), one.record(&self.choices))).collect()
    }

    /// The next connections as records, each with its place. `None`: there are no more.
    ///
    /// # Errors
    /// When they cannot be read, and when the key is wrong.
    pub async fn next_connections(&mut self) -> anyhow::Result<Option<Vec<(String, Record)>>> {
        let rows = self.rows(CONNECTIONS, self.after, PAGE).await?;
        let Some(last) = rows.last() else { return Ok(None) };
        self.after = rows::id(last).context("a connection of Nango has no id")?;
        let living = rows.iter().filter(|row| !rows::is_deleted(row));
        let records = living
            .map(|row| connection_record(row, &self.integrations, &self.end_users, self.key.as_ref(), &self.choices));
        records.collect::<anyhow::Result<_>>().map(Some)
    }

    async fn environment(&mut self) -> anyhow::Result<i64> {
        let schema = self.choices.schema.clone();
        if !self.has_table(CONNECTIONS).await? {
            bail!(
                "there is no table `{CONNECTIONS}` in the schema `{}`: is it Nango's database? See --schema",
                self.choices.schema
            );
        }
        let statement = format!("SELECT id::bigint, name::text FROM \"{schema}\".\"{ENVIRONMENTS}\" ORDER BY id");
        let environments: Vec<(i64, String)> = self.fetch(statement, None).await?;
        let named = |name: &String| environments.iter().filter(|(_, found)| found == name).collect::<Vec<_>>();
        let names = || environments.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ");
        match (&self.choices.environment, &environments[..]) {
            (None, [(id, _)]) => Ok(*id),
            (None, _) => bail!("Nango has several environments: choose one with --environment. There are: {}", names()),
            (Some(name), _) => match named(name)[..] {
                [(id, _)] => Ok(*id),
                [] => bail!("Nango has no environment `{name}`. There are: {}", names()),
                _ => bail!("several accounts have an environment `{name}`, and only one account can be imported"),
            },
        }
    }

    async fn read_integrations(&mut self) -> anyhow::Result<()> {
        let rows = self.rows(CONFIGS, 0, i64::MAX).await?;
        let key = self.key.as_ref();
        let integrations = rows.iter().filter(|row| !rows::is_deleted(row)).map(|row| Integration::of(row, key));
        self.integrations = integrations.collect::<anyhow::Result<_>>()?;
        Ok(())
    }

    async fn has_table(&mut self, table: &str) -> anyhow::Result<bool> {
        let statement = format!("SELECT to_regclass('\"{}\".\"{table}\"') IS NOT NULL", self.choices.schema);
        let found: Vec<(bool,)> = self.fetch(statement, None).await?;
        Ok(found.first().is_some_and(|(found,)| *found))
    }

    /// Rows of the environment in a table, as JSON, in the order of their ids.
    async fn rows(&mut self, table: &str, after: i64, limit: i64) -> anyhow::Result<Vec<Map<String, Value>>> {
        let statement = format!(
            "SELECT to_jsonb(t) FROM \"{}\".\"{table}\" t WHERE t.environment_id = $1 AND t.id > $2 ORDER BY t.id LIMIT $3",
            self.choices.schema
        );
        let rows: Vec<(Value,)> = self.fetch(statement, Some((self.environment_id, after, limit))).await?;
        let objects = rows.into_iter().map(|(row,)| match row {
            Value::Object(object) => Ok(object),
            _ => Err(anyhow!("a row of {table} is not an object")),
        });
        objects.collect()
    }

    #[expect(clippy::disallowed_methods, reason = "another program's database, which is never an SQLite")]
    async fn fetch<R>(&mut self, statement: String, bound: Option<(i64, i64, i64)>) -> anyhow::Result<Vec<R>>
    where
        R: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
    {
        // The only part of a statement that comes from outside is the schema, which `open` has checked.
        let query = sqlx::query_as(AssertSqlSafe(statement));
        let query = match bound {
            Some((environment, after, limit)) => query.bind(environment).bind(after).bind(limit),
            None => query,
        };
        let fetched = tokio::time::timeout(TIMEOUT, query.fetch_all(&mut self.connection)).await;
        fetched.map_err(|_| anyhow!("Nango's database does not respond"))?.context("Nango's database cannot be read")
    }
}
