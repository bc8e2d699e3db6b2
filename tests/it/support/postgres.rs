//! One PostgreSQL database for one test, dropped afterwards.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::Url;
use uuid::Uuid;

const SERVER: &str = "TEST_POSTGRES_URL";

/// A database that lives as long as this value.
pub struct OwnDatabase {
    server: String,
    name: String,
    pub url: String,
}

impl OwnDatabase {
    pub async fn create() -> Self {
        let server = std::env::var(SERVER).unwrap_or_else(|_| {
            panic!(
                "{SERVER} is not set: run `scripts/test`, which starts PostgreSQL, or install Debian's package `postgresql` and set it"
            )
        });
        Self::create_on(server).await
    }

    /// A database on that server.
    pub async fn create_on(server: String) -> Self {
        let name = format!("it_{}", Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&server)
            .await
            .unwrap_or_else(|e| panic!("cannot reach the PostgreSQL of {server}: {e}"));
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut admin)
            .await
            .expect("a test creates its own database");
        let mut url = Url::parse(&server).expect("the server is given as a URL");
        url.set_path(&name);
        Self { server, name, url: url.into() }
    }
}

impl Drop for OwnDatabase {
    /// Best effort, on a thread of its own because dropping cannot wait.
    fn drop(&mut self) {
        let server = self.server.clone();
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut admin = PgConnection::connect(&server).await?;
                sqlx::query(AssertSqlSafe(statement)).execute(&mut admin).await
            })?;
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        })
        .join();
        // A database that stays behind disturbs nobody: its name is unique.
        drop(dropped);
    }
}
