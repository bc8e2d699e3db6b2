//! Background jobs: one replica at a time runs a job, and another takes over when it dies.

use std::time::Duration;

use agent_auth::broker::error::BrokerError;
use agent_auth::broker::jobs::exclusive::exclusively;
use tokio::sync::oneshot;

use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::eventually::eventually;

both_databases! {
    a_job_is_done_by_one_at_a_time,
    a_job_whose_holder_died_is_done_by_another,
}

/// How long a test waits for what happens in the background.
const SOON: Duration = Duration::from_secs(15);

async fn try_it(app: &TestApp) -> Option<u32> {
    exclusively(app.app.broker.store(), "a test's", Duration::from_secs(30), async { Ok(7) }).await.unwrap()
}

async fn a_job_is_done_by_one_at_a_time(here: TestApp) {
    let there = here.replica().await;
    let (begin, begun) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let held = exclusively(here.app.broker.store(), "a test's", Duration::from_secs(30), async {
        begin.send(()).unwrap();
        ended.await.unwrap();
        Ok(())
    });
    let others = async {
        begun.await.unwrap();
        assert_eq!(try_it(&there).await, None);
        assert_eq!(try_it(&here).await, None, "not twice in one process either");
        end.send(()).unwrap();
    };
    let (done, ()) = tokio::join!(held, others);
    assert_eq!(done.unwrap(), Some(()));
    assert_eq!(try_it(&there).await, Some(7), "it was given back");
    let failed = exclusively(here.app.broker.store(), "a test's", Duration::from_secs(30), async {
        Err::<(), _>(BrokerError::NotFound("luck"))
    });
    failed.await.expect_err("what it says is passed on");
    assert_eq!(try_it(&there).await, Some(7), "it was given back all the same");
}

async fn a_job_whose_holder_died_is_done_by_another(here: TestApp) {
    let there = here.replica().await;
    let cut_off = exclusively(here.app.broker.store(), "a test's", Duration::from_millis(300), async {
        std::future::pending::<()>().await;
        Ok(())
    });
    cut_off.await.expect_err("longer than it may take");
    assert_eq!(try_it(&there).await, Some(7));
    // Held by a process that is gone: until its time is over, and no longer.
    let id = if there.database.postgres.is_some() { "gen_random_uuid()" } else { "randomblob(16)" };
    let held = format!("UPDATE jobs SET owner = {id}, until = (SELECT now_ms + 1500 FROM database_clock)");
    there.database.tamper(&format!("{held} WHERE name = 'a test''s'")).await;
    assert_eq!(try_it(&there).await, None);
    eventually(SOON, async || try_it(&there).await.is_some()).await;
}
