//! The requests that the scripted authorization server received.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{AuthorizationServer, Request, TOKEN, USERINFO};

impl AuthorizationServer {
    pub fn requests(&self, path: &str) -> Vec<Request> {
        self.all_requests().into_iter().filter(|request| request.path == path).collect()
    }

    pub fn all_requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The requests to `path` since they were last taken.
    pub fn take_requests(&self, path: &str) -> Vec<Request> {
        self.state.requests.lock().unwrap().extract_if(.., |request| request.path == path).collect()
    }

    /// The requests to any path since they were last taken.
    pub fn take_all_requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.state.requests.lock().unwrap())
    }

    /// How many requests to `path` there were ever.
    pub fn count(&self, path: &str) -> usize {
        self.state.counts.lock().unwrap().get(path).copied().unwrap_or_default()
    }

    /// How many requests to anything but the token endpoint there were ever.
    pub fn count_elsewhere(&self) -> usize {
        self.state.counts.lock().unwrap().iter().filter(|(path, _)| *path != TOKEN).map(|(_, count)| count).sum()
    }

    pub fn token_requests(&self) -> Vec<Request> {
        self.requests(TOKEN)
    }

    pub fn exchanges(&self) -> Vec<Request> {
        self.requests_of("authorization_code")
    }

    pub fn refreshes(&self) -> Vec<Request> {
        self.requests_of("refresh_token")
    }

    /// The only code exchange so far.
    pub fn exchange(&self) -> Request {
        let mut all = self.exchanges();
        assert_eq!(all.len(), 1, "exactly one code exchange: {all:?}");
        all.remove(0)
    }

    fn requests_of(&self, grant_type: &str) -> Vec<Request> {
        let mut all = self.token_requests();
        all.retain(|request| request.value("grant_type") == Some(grant_type));
        all
    }

    /// The requests to the revocation endpoint, and any that missed it.
    pub fn revocations(&self) -> Vec<Request> {
        let mut all = self.all_requests();
        all.retain(|request| ![TOKEN, USERINFO].contains(&request.path.as_str()));
        all
    }

    /// This field of every revocation so far.
    pub fn revoked(&self, name: &str) -> Vec<String> {
        self.revocations().iter().map(|request| request.value(name).unwrap_or_default().to_owned()).collect()
    }

    /// Waits until there were so many revocations, and then that there are no more.
    pub async fn revoked_times(&self, times: usize) -> Vec<Request> {
        let begun = Instant::now();
        while self.revocations().len() < times && begun.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let revocations = self.revocations();
        assert_eq!(revocations.len(), times, "{revocations:?}");
        revocations
    }

    pub fn bytes_sent(&self) -> u64 {
        self.state.bytes_sent.load(Ordering::SeqCst)
    }
}
