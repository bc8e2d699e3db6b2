//! A person's browser: it keeps cookies as browsers do, and presses the buttons of our page.

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::body::Body;
use axum::http::Method;
use url::{Position, Url, form_urlencoded};

use super::answer::Answer;
use super::caller::Caller;
use super::stream::Stream;

pub struct Browser {
    caller: Caller,
    cookies: Mutex<BTreeMap<String, String>>,
}

impl Browser {
    /// One that has never been anywhere.
    pub fn new(app: &Caller) -> Self {
        Self { caller: app.browser(), cookies: Mutex::default() }
    }

    /// One that sends this header too.
    pub fn sending(app: &Caller, name: &str, value: &str) -> Self {
        Self { caller: app.browser().with(name, value), cookies: Mutex::default() }
    }

    /// Opens an address and follows no redirect.
    pub async fn open(&self, url: &str) -> Answer {
        let answer = self.with_cookies().get(path_of(url).as_str()).await;
        self.keep_cookies(&answer);
        answer
    }

    /// The same in this language.
    pub async fn open_in(&self, language: &str, url: &str) -> Answer {
        self.with_cookies().with("accept-language", language).get(path_of(url).as_str()).await
    }

    /// Opens a stream, which must be accepted.
    pub async fn follow(&self, url: &str) -> Stream {
        self.with_cookies().follow(&path_of(url)).await
    }

    /// The same after the connection was lost: with the id of the last event that came.
    pub async fn follow_after(&self, url: &str, last: &str) -> Stream {
        self.with_cookies().with("last-event-id", last).follow(&path_of(url)).await
    }

    /// Sends a form from a page of the same origin.
    pub async fn send(&self, url: &str, fields: &[(&str, &str)]) -> Answer {
        let caller = self.with_cookies().with("sec-fetch-site", "same-origin");
        let answer = post_form(&caller, url, fields).await;
        self.keep_cookies(&answer);
        answer
    }

    /// Opens our page and presses a button of it.
    pub async fn press(&self, url: &str, button: &str) -> Answer {
        let page = self.open(url).await;
        let html = page.expect_html(200);
        self.send(url, &[("browser", &hidden(&html, "browser")), ("decision", button)]).await
    }

    /// Opens our page and goes on; gives where the browser is sent.
    pub async fn go_on(&self, url: &str) -> String {
        let answer = self.press(url, "continue").await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        answer.header("location").to_owned()
    }

    /// Comes back from the provider and must end on a page of success.
    pub async fn come_back(&self, callback: &Url) -> Answer {
        let answer = self.open(callback.as_str()).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        let page = self.open(answer.header("location")).await;
        page.expect_html(200);
        page
    }

    pub fn cookies(&self) -> BTreeMap<String, String> {
        self.cookies.lock().unwrap().clone()
    }

    /// Somebody plants a cookie.
    pub fn plant(&self, name: &str, value: &str) {
        self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    fn with_cookies(&self) -> Caller {
        let cookies = self.cookies.lock().unwrap();
        let line: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if line.is_empty() { self.caller.clone() } else { self.caller.with("cookie", &line.join("; ")) }
    }

    fn keep_cookies(&self, answer: &Answer) {
        for set in answer.headers.get_all("set-cookie") {
            let (pair, _) = set.to_str().unwrap().split_once(';').expect("attributes");
            let (name, value) = pair.split_once('=').expect("a value");
            self.plant(name, value);
        }
    }
}

/// Sends a form with the headers of `caller`.
pub async fn post_form(caller: &Caller, url: &str, fields: &[(&str, &str)]) -> Answer {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let caller = caller.with("content-type", "application/x-www-form-urlencoded");
    caller.send(Method::POST, &path_of(url), Body::from(form)).await
}

/// The value of a hidden field.
#[track_caller]
pub fn hidden(html: &str, name: &str) -> String {
    let (_, rest) =
        html.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("no {name}: {html}"));
    rest.split('"').next().unwrap_or_default().to_owned()
}

fn path_of(url: &str) -> String {
    let url = Url::parse(url).expect("an absolute address");
    url[Position::BeforePath..Position::AfterQuery].to_owned()
}
