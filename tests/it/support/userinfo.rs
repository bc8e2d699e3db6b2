//! A userinfo endpoint on a port of its own.
//! Owns its answers and the record of who asked.
//! Must not know the application, or which token belongs to whom.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use serde_json::Value;

use super::scripted::Scripted;
use super::served::Served;

#[derive(Default)]
struct Records {
    script: Mutex<VecDeque<Scripted>>,
    asked: Mutex<Vec<(Method, HeaderMap)>>,
}

pub struct Userinfo {
    served: Served,
    records: Arc<Records>,
}

impl Userinfo {
    pub async fn start() -> Self {
        let records = Arc::new(Records::default());
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&records));
        Self { served: Served::start(routes).await, records }
    }

    pub fn url(&self) -> String {
        format!("http://{}/userinfo", self.served.address)
    }

    /// The next one who asks is answered with this. Whoever asks without a script gets an error.
    pub fn answer_next(&self, answer: Scripted) {
        self.records.script.lock().unwrap().push_back(answer);
    }

    pub fn tell_next(&self, person: Value) {
        self.answer_next(Scripted::json(person));
    }

    pub fn times_asked(&self) -> usize {
        self.records.asked.lock().unwrap().len()
    }

    /// Method, `Authorization` and `User-Agent` of everybody who asked.
    pub fn asked(&self) -> Vec<(Method, String, String)> {
        let asked = self.records.asked.lock().unwrap();
        let text =
            |headers: &HeaderMap, name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        asked
            .iter()
            .map(|(method, headers)| (method.clone(), text(headers, "authorization"), text(headers, "user-agent")))
            .collect()
    }
}

async fn answer(State(records): State<Arc<Records>>, method: Method, headers: HeaderMap) -> Response {
    records.asked.lock().unwrap().push((method, headers));
    let scripted = records.script.lock().unwrap().pop_front();
    let answer = scripted.unwrap_or_else(|| Scripted::text("text/plain", "no script").status(500));
    answer.give(Arc::default()).await
}
