//! Requests by route: how many ended how, and how long they took.
//! Owns: that a request of a known route takes no lock and no memory to be counted if it succeeds.
//! Must not know: which routes there are.

use std::{
    collections::{BTreeMap, HashMap},
    sync::OnceLock,
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    text::Samples,
    value::{Counter, Each, Histogram, Label, label},
};

label! {
    /// The method of a request. An unknown one must not become a label of its own.
    Method {
        /// GET.
        Get = "GET",
        /// POST.
        Post = "POST",
        /// PATCH.
        Patch = "PATCH",
        /// DELETE.
        Delete = "DELETE",
        /// HEAD.
        Head = "HEAD",
        /// Any other.
        Other = "other",
    }
}

impl Method {
    /// The method of this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "POST" => Self::Post,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "HEAD" => Self::Head,
            _ => Self::Other,
        }
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

/// The routes that monitors call all the time.
pub const MONITORED: [&str; 4] = ["/livez", "/readyz", "/ok", "/metrics"];
/// The route and the code of requests that have none.
pub const NONE: &str = "none";
/// The status of most requests.
const OK: u16 = 200;
/// A bug. It is listed from the start at every route: the first one is an increase only if there was a 0 before.
const BUG: (u16, &str) = (500, "internal_error");
/// What else goes wrong on the server's side: it is listed from the start at every route of the API and of callbacks. At
/// each of the pages it would be hundreds of lines at every scrape, for alerts that do not depend on the first one.
const FAILURES: [(u16, &str); 8] = [
    (502, "provider_error"),
    (502, "provider_misconfigured"),
    (503, "audit_unavailable"),
    (503, "database_unavailable"),
    (503, "encryption_unavailable"),
    (503, "identity_unavailable"),
    (503, "provider_unavailable"),
    (504, "provider_timeout"),
];

/// A route that the server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRoute {
    /// Its method.
    pub method: Method,
    /// Its template.
    pub template: String,
    /// Whether all failures of the server's side are listed from the start, and not only bugs.
    pub lists_failures: bool,
}

/// The requests of this process.
#[derive(Debug, Default)]
pub struct Requests {
    routes: OnceLock<HashMap<String, Route>>,
    /// Requests without a route, and those before the routes are known.
    others: Route,
}

#[derive(Debug, Default)]
struct Route {
    /// Those that succeeded.
    ok: Each<Method, Counter>,
    /// The methods that are listed although nobody used them yet.
    methods: Vec<Method>,
    /// The others, by method, status and code.
    rest: Mutex<BTreeMap<(&'static str, u16, &'static str), u64>>,
    seconds: Histogram,
}

impl Requests {
    /// The server has these routes, from now on.
    pub fn know(&self, known: impl IntoIterator<Item = KnownRoute>) {
        self.routes.get_or_init(|| {
            let mut routes: HashMap<String, Route> = HashMap::new();
            for KnownRoute { method, template, lists_failures } in known {
                let route = routes.entry(template).or_default();
                route.methods.push(method);
                let more = FAILURES.iter().filter(|_| lists_failures);
                let listed = [BUG].iter().chain(more).map(|&(status, code)| ((method.as_str(), status, code), 0));
                route.rest.get_mut().extend(listed);
            }
            routes
        });
    }

    /// Counts a request. `code` is that of its error.
    pub fn count(&self, template: &str, method: Method, status: u16, code: &'static str, duration: Duration) {
        let route = self.routes.get().and_then(|routes| routes.get(template)).unwrap_or(&self.others);
        if status == OK {
            route.ok.of(method).increment();
        } else {
            *route.rest.lock().entry((method.as_str(), status, code)).or_default() += 1;
        }
        route.seconds.record(duration);
    }

    pub(super) fn write_counts(&self, samples: &mut Samples<'_>) {
        for (template, route) in self.sorted() {
            let mut write = |method: &str, status: &str, code: &str, value: u64| {
                let labels = [("method", method), ("route", template), ("status", status), ("code", code)];
                samples.add(&labels, value);
            };
            for (method, count) in route.ok.iter() {
                if count.value() > 0 || route.methods.iter().any(|listed| listed.as_str() == method) {
                    write(method, "200", NONE, count.value());
                }
            }
            for ((method, status, code), count) in &*route.rest.lock() {
                write(method, &status.to_string(), code, *count);
            }
        }
    }

    /// A route that nobody called yet has no histogram: there are many routes.
    pub(super) fn write_seconds(&self, samples: &mut Samples<'_>) {
        for (template, route) in self.sorted().filter(|(_, route)| route.seconds.is_used()) {
            samples.add_histogram(&[("route", template)], &route.seconds);
        }
    }

    fn sorted(&self) -> impl Iterator<Item = (&str, &Route)> {
        let known = self.routes.get().into_iter().flatten().map(|(template, route)| (template.as_str(), route));
        let mut routes: Vec<_> = known.chain([(NONE, &self.others)]).collect();
        routes.sort_unstable_by_key(|(template, _)| *template);
        routes.into_iter()
    }
}
