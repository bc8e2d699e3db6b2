//! What the tests use: a running application, a scripted authorization server, a database for each test.

pub mod answer;
pub mod app;
pub mod authorization_server;
pub mod binary;
pub mod browser;
pub mod caller;
pub mod cluster;
pub mod database;
pub mod eventually;
pub mod fault_proxy;
pub mod identity_provider;
pub mod langsmith;
pub mod mcp_server;
pub mod metrics;
pub mod pgbouncer;
pub mod postgres;
pub mod stream;
pub mod trap;
pub mod wire;

/// Makes every named test twice: `sqlite::name` and `postgres::name`.
///
/// A test takes what it needs: a `TestApp`, or the bare `Database` when it starts the application itself.
/// A test that is missing from the list is dead code, which the lints refuse.
macro_rules! both_databases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let database = crate::support::database::Database::sqlite();
                crate::support::app::run(super::$name, database).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let database = crate::support::database::Database::postgres().await;
                crate::support::app::run(super::$name, database).await;
            })+
        }
    };
}
pub(crate) use both_databases;
