//! The two databases that every test runs on: their settings, and direct reads of what is stored.
//! It asks the database for its tables and does not know the schema.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_auth::config::Settings;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;
use uuid::Uuid;

use super::postgres::OwnDatabase;

pub const PUBLIC_URL: &str = "https://broker.example";

/// A fresh database with the folder, the encryption key and the first API key that belong to it.
pub struct Database {
    pub folder: TempDir,
    pub encryption_keys: String,
    pub bootstrap_key: String,
    pub postgres: Option<OwnDatabase>,
}

impl Database {
    pub fn sqlite() -> Self {
        Self::new(None)
    }

    pub async fn postgres() -> Self {
        Self::new(Some(OwnDatabase::create().await))
    }

    /// A database on a PostgreSQL server of the test's own.
    pub async fn postgres_on(server: String) -> Self {
        Self::new(Some(OwnDatabase::create_on(server).await))
    }

    fn new(postgres: Option<OwnDatabase>) -> Self {
        Self {
            folder: TempDir::new().expect("a temporary folder"),
            encryption_keys: encryption_key("first"),
            bootstrap_key: random_text("bootstrap-"),
            postgres,
        }
    }

    /// The settings of an application on this database that may talk to providers on loopback.
    pub fn settings(&self) -> Settings {
        Settings {
            public_url: Some(PUBLIC_URL.to_owned()),
            database_url: self.postgres.as_ref().map(|own| SecretString::from(own.url.clone())),
            data_dir: self.folder.path().to_owned(),
            encryption_keys: Some(SecretString::from(self.encryption_keys.clone())),
            bootstrap_api_key: Some(SecretString::from(self.bootstrap_key.clone())),
            allow_private_upstreams: "true".to_owned(),
            // Most tests are about what comes after, and follow the URL straight to the provider.
            consent: "direct".to_owned(),
            ..Settings::default()
        }
    }

    /// The same settings for the real binary.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut environment = vec![
            ("DATA_DIR".to_owned(), self.folder.path().display().to_string()),
            ("ENCRYPTION_KEYS".to_owned(), self.encryption_keys.clone()),
            ("BOOTSTRAP_API_KEY".to_owned(), self.bootstrap_key.clone()),
            ("PUBLIC_URL".to_owned(), PUBLIC_URL.to_owned()),
            ("ALLOW_PRIVATE_UPSTREAMS".to_owned(), "true".to_owned()),
            ("CONSENT".to_owned(), "direct".to_owned()),
        ];
        if let Some(own) = &self.postgres {
            environment.push(("DATABASE_URL".to_owned(), own.url.clone()));
        }
        environment.into_iter().map(|(key, value)| (format!("AGENT_AUTH_{key}"), value)).collect()
    }

    /// The same with other encryption keys; with none, SQLite keeps them in its file.
    pub fn environment_with_keys(&self, keys: &str) -> Vec<(String, String)> {
        let mut environment = self.environment();
        environment.retain(|(name, _)| name != "AGENT_AUTH_ENCRYPTION_KEYS");
        environment.push(("AGENT_AUTH_ENCRYPTION_KEYS".to_owned(), keys.to_owned()));
        environment
    }

    /// How many stored values the encryption key of that id has sealed, by column. An envelope is an algorithm, the
    /// length of the id, the id, and the rest.
    pub async fn sealed_with(&self, key_id: &str) -> BTreeMap<String, i64> {
        let length = u8::try_from(key_id.len()).expect("a short id");
        let head = hex::encode([&[length], key_id.as_bytes()].concat());
        let head = if self.postgres.is_some() { format!("'\\x{head}'::bytea") } else { format!("X'{head}'") };
        let mut counts = BTreeMap::new();
        for table in self.tables().await.into_iter().filter(|table| table != "encryption_keys") {
            for column in self.byte_columns(&table).await {
                let statement =
                    format!("SELECT count(*) FROM {table} WHERE substr({column}, 2, length({head})) = {head}");
                let count = self.number(&statement).await;
                if count > 0 {
                    counts.insert(format!("{table}.{column}"), count);
                }
            }
        }
        counts
    }

    /// Everything at rest, byte for byte: SQLite's files with the write-ahead log, or every row of PostgreSQL.
    pub async fn everything_at_rest(&self) -> Vec<u8> {
        match &self.postgres {
            None => files_below(self.folder.path())
                .iter()
                .flat_map(|file| std::fs::read(file).expect("a readable file"))
                .collect(),
            Some(own) => {
                let mut connection = PgConnection::connect(&own.url).await.expect("the test's own database");
                let mut all = String::new();
                for table in self.tables().await {
                    let rows: Vec<String> =
                        sqlx::query_scalar(AssertSqlSafe(format!("SELECT row_to_json(t)::text FROM \"{table}\" t")))
                            .fetch_all(&mut connection)
                            .await
                            .expect("rows");
                    all.push_str(&rows.join("\n"));
                }
                all.into_bytes()
            }
        }
    }

    /// How many rows each table holds.
    pub async fn row_counts(&self) -> BTreeMap<String, i64> {
        let mut counts = BTreeMap::new();
        for table in self.tables().await {
            let count = self.number(&format!("SELECT count(*) FROM \"{table}\"")).await;
            counts.insert(table, count);
        }
        counts
    }

    /// How many authorization requests were ever begun and are still stored.
    pub async fn authorization_requests(&self) -> i64 {
        let counts = self.row_counts().await;
        let mut found = counts.iter().filter(|(table, _)| table.contains("authorization"));
        let (_, count) = found.next().unwrap_or_else(|| panic!("no table of authorization requests in {counts:?}"));
        *count
    }

    /// The columns of `table` that hold bytes.
    pub async fn byte_columns(&self, table: &str) -> Vec<String> {
        self.texts(&if self.postgres.is_some() {
            format!(
                "SELECT column_name::text FROM information_schema.columns \
                 WHERE table_schema = 'public' AND table_name = '{table}' AND data_type = 'bytea'"
            )
        } else {
            format!("SELECT name FROM pragma_table_info('{table}') WHERE upper(type) IN ('BYTEA', 'BLOB')")
        })
        .await
    }

    pub async fn tables(&self) -> Vec<String> {
        self.texts(if self.postgres.is_some() {
            "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
        } else {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1"
        })
        .await
    }

    pub async fn number(&self, statement: &str) -> i64 {
        let statement = AssertSqlSafe(statement.to_owned());
        match &self.postgres {
            Some(own) => {
                let mut connection = PgConnection::connect(&own.url).await.expect("connects");
                sqlx::query_scalar(statement).fetch_one(&mut connection).await
            }
            None => sqlx::query_scalar(statement).fetch_one(&mut self.sqlite_connection().await).await,
        }
        .expect("a number")
    }

    async fn texts(&self, statement: &str) -> Vec<String> {
        let statement = AssertSqlSafe(statement.to_owned());
        match &self.postgres {
            Some(own) => {
                let mut connection = PgConnection::connect(&own.url).await.expect("connects");
                sqlx::query_scalar(statement).fetch_all(&mut connection).await
            }
            None => sqlx::query_scalar(statement).fetch_all(&mut self.sqlite_connection().await).await,
        }
        .expect("texts")
    }

    /// Changes stored data behind the application's back; answers how many rows it hit.
    pub async fn tamper(&self, statement: &str) -> u64 {
        let query = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
        if let Some(own) = &self.postgres {
            let mut connection = PgConnection::connect(&own.url).await.expect("connects");
            query.execute(&mut connection).await.expect("tampering").rows_affected()
        } else {
            let mut connection = self.sqlite_connection().await;
            query.execute(&mut connection).await.expect("tampering").rows_affected()
        }
    }

    pub async fn sqlite_connection(&self) -> SqliteConnection {
        let file = files_below(self.folder.path())
            .into_iter()
            .find(|file| std::fs::read(file).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3\0")))
            .expect("a SQLite file in the data folder");
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file)).await.expect("connects")
    }
}

/// A new `id:base64` encryption key.
pub fn encryption_key(id: &str) -> String {
    let mut bytes = [0_u8; 32];
    bytes[..16].copy_from_slice(Uuid::new_v4().as_bytes());
    bytes[16..].copy_from_slice(Uuid::new_v4().as_bytes());
    format!("{id}:{}", STANDARD.encode(bytes))
}

/// A text that cannot occur anywhere by chance.
pub fn random_text(prefix: &str) -> String {
    format!("{prefix}{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}
