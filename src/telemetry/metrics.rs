//! Metrics: what the server measures of itself, and the text in which Prometheus reads it.
//! Owns: every metric of the process, its name and its meaning. They are values in memory; recording takes no lock where
//! requests are served.
//! Must not know: when something is recorded. No label names an organization, a workspace, a user or an agent.

mod process;
mod providers;
mod requests;
mod text;
mod value;

use std::sync::{LazyLock, OnceLock};

use self::{
    providers::Providers,
    requests::Requests,
    text::{Kind, Metric, Text},
    value::label,
};
pub use self::{
    providers::{
        DeathCause, Endpoint, NAMED_PROVIDERS_MAX, NO_PROVIDER, Provider, RefreshOutcome, Trigger, UpstreamOutcome,
    },
    requests::{KnownRoute, MONITORED, Method, NONE},
    text::CONTENT_TYPE,
    value::{Counted, Counter, Each, Gauge, Histogram, Label, Timed},
};

/// The metrics of this process.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);

label! {
    /// What happens to authorization requests.
    Consent {
        /// Begun.
        Begun = "begun",
        /// There is a token.
        Completed = "completed",
        /// The person denied access.
        Denied = "denied",
        /// The provider, or this server, refused.
        Refused = "refused",
        /// The code could not be exchanged.
        Failed = "failed",
        /// Nobody came back in time.
        Expired = "expired",
    }
}

label! {
    /// How an attempt to revoke a grant at its provider ended.
    RevocationOutcome {
        /// Revoked.
        Revoked = "revoked",
        /// To be tried again.
        Failed = "failed",
        /// It failed too often.
        GivenUp = "given_up",
        /// It would have ended other grants.
        Spared = "spared",
        /// The provider cannot do it.
        Unsupported = "unsupported",
    }
}

label! {
    /// How an attempt to deliver an event to a webhook ended.
    WebhookOutcome {
        /// Delivered.
        Delivered = "delivered",
        /// To be tried again.
        Failed = "failed",
        /// It failed too often.
        Dead = "dead",
        /// The webhook is gone.
        Gone = "gone",
    }
}

label! {
    /// What a statement does.
    Statement {
        /// It only reads.
        Read = "read",
        /// It writes, or is one of a transaction.
        Write = "write",
        /// It ends a transaction.
        Commit = "commit",
    }
}

label! {
    /// What is cached.
    Cached {
        /// API keys.
        ApiKeys = "api_keys",
        /// Callers whom LangSmith identified.
        Identities = "identities",
        /// Which record a provider's name refers to.
        ProviderNames = "provider_names",
        /// Tokens that were handed out a moment ago.
        Tokens = "tokens",
    }
}

label! {
    /// What a look-up in a cache found.
    Found {
        /// The value.
        Hit = "hit",
        /// Nothing.
        Miss = "miss",
    }
}

label! {
    /// The state of a grant.
    Grant {
        /// It works, as far as is known.
        Active = "active",
        /// Only a new consent helps.
        ConsentNeeded = "consent_needed",
    }
}

label! {
    /// What a connection of the pool does.
    Connection {
        /// It runs a statement or a transaction.
        InUse = "in_use",
        /// Nothing.
        Idle = "idle",
    }
}

/// The metrics of one process.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Requests, by route.
    pub requests: Requests,
    /// What is measured for each provider.
    pub providers: Providers,
    /// Grants that are stored.
    pub grants: Each<Grant, Gauge>,
    /// Calls of `/wait` that sleep.
    pub waiters: Gauge,
    /// Authorization requests.
    pub consents: Each<Consent, Counter>,
    /// Attempts to revoke a grant.
    pub revocations: Each<RevocationOutcome, Counter>,
    /// Grants that are yet to be revoked.
    pub revocations_waiting: Gauge,
    /// How long the oldest of them has waited, in seconds.
    pub revocations_oldest: Gauge,
    /// Attempts to deliver an event to a webhook.
    pub webhooks: Each<WebhookOutcome, Counter>,
    /// Deliveries that are yet to be made.
    pub webhooks_waiting: Gauge,
    /// How long the oldest of them has waited, in seconds.
    pub webhooks_oldest: Gauge,
    /// Deliveries that were given up and can be made again.
    pub webhooks_dead: Gauge,
    /// The connections to the database.
    pub connections: Each<Connection, Gauge>,
    /// How many connections there may be.
    pub connections_max: Gauge,
    /// How long a statement or a transaction waits for a connection.
    pub connection_wait: Histogram,
    /// How long statements take, without that wait.
    pub statements: Each<Statement, Histogram>,
    /// Whether no connection to the database failed lately.
    pub database_reachable: Gauge,
    /// Whether this process receives the messages of other replicas; nothing where there are none.
    pub listener: OnceLock<Gauge>,
    /// Look-ups in caches.
    pub caches: Each<Cached, Each<Found, Counter>>,
    /// Hand-outs that are not written yet.
    pub handouts_waiting: Gauge,
    /// How long the oldest of them has waited, in milliseconds.
    pub handouts_oldest: Gauge,
    /// Operations that the audit log could not record.
    pub audit_failures: Counter,
    /// The kind of database.
    pub database: OnceLock<&'static str>,
}

impl Metrics {
    /// Counts a look-up in a cache.
    pub fn looked_up(&self, cache: Cached, is_hit: bool) {
        self.caches.of(cache).of(if is_hit { Found::Hit } else { Found::Miss }).increment();
    }

    /// All of them, in the text format of Prometheus. Reads files of the operating system.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Text::default();
        self.write_http(&mut text);
        self.write_grants(&mut text);
        self.write_webhooks(&mut text);
        self.write_database(&mut text);
        self.write_audit(&mut text);
        self.write_process(&mut text);
        text.0
    }

    fn write_http(&self, text: &mut Text) {
        self.requests.write_counts(&mut text.begin(&Metric {
            name: "agent_auth_requests_total",
            kind: Kind::Counter,
            help: "Requests, by route, status and error code.",
        }));
        self.requests.write_seconds(&mut text.begin(&Metric {
            name: "agent_auth_request_seconds",
            kind: Kind::Histogram,
            help: "Duration of requests.",
        }));
        text.begin(&Metric {
            name: "agent_auth_waiters",
            kind: Kind::Gauge,
            help: "Calls of /wait that wait for a consent.",
        })
        .add(&[], self.waiters.value());
        let mut samples = text.begin(&Metric {
            name: "agent_auth_cache_lookups_total",
            kind: Kind::Counter,
            help: "Look-ups in caches.",
        });
        for (cache, found) in self.caches.iter() {
            samples.add_each(&[("cache", cache)], "result", found, Counter::value);
        }
    }

    fn write_grants(&self, text: &mut Text) {
        text.begin(&Metric {
            name: "agent_auth_authorization_requests_total",
            kind: Kind::Counter,
            help: "Authorization requests, by what happened to them.",
        })
        .add_each(&[], "event", &self.consents, Counter::value);
        text.begin(&Metric {
            name: "agent_auth_grants",
            kind: Kind::Gauge,
            help: "Stored grants, by state; counted every minute, at most a million of each.",
        })
        .add_each(&[], "state", &self.grants, Gauge::value);
        self.providers.write_deaths(&mut text.begin(&Metric {
            name: "agent_auth_grant_deaths_total",
            kind: Kind::Counter,
            help: "Grants that need a new consent, by cause.",
        }));
        self.providers.write_refreshes(&mut text.begin(&Metric {
            name: "agent_auth_refreshes_total",
            kind: Kind::Counter,
            help: "Refreshes of tokens, by why they began and how they ended.",
        }));
        self.providers.write_requests(&mut text.begin(&Metric {
            name: "agent_auth_upstream_requests_total",
            kind: Kind::Counter,
            help: "Requests to providers and other servers, by how they ended.",
        }));
        self.providers.write_seconds(&mut text.begin(&Metric {
            name: "agent_auth_upstream_request_seconds",
            kind: Kind::Histogram,
            help: "Duration of requests to providers and other servers, also of those without a response.",
        }));
        text.begin(&Metric {
            name: "agent_auth_revocations_total",
            kind: Kind::Counter,
            help: "Attempts to revoke a grant at its provider, by outcome.",
        })
        .add_each(&[], "outcome", &self.revocations, Counter::value);
        text.begin(&Metric {
            name: "agent_auth_revocations_waiting",
            kind: Kind::Gauge,
            help: "Deleted grants that are yet to be revoked at their provider; counted every minute.",
        })
        .add(&[], self.revocations_waiting.value());
        text.begin(&Metric {
            name: "agent_auth_revocations_oldest_seconds",
            kind: Kind::Gauge,
            help: "How long the oldest of them has waited.",
        })
        .add(&[], self.revocations_oldest.value());
    }

    fn write_webhooks(&self, text: &mut Text) {
        text.begin(&Metric {
            name: "agent_auth_webhook_attempts_total",
            kind: Kind::Counter,
            help: "Attempts to deliver an event to a webhook, by outcome.",
        })
        .add_each(&[], "outcome", &self.webhooks, Counter::value);
        text.begin(&Metric {
            name: "agent_auth_webhook_deliveries_waiting",
            kind: Kind::Gauge,
            help: "Events that are yet to be delivered to a webhook; counted every minute.",
        })
        .add(&[], self.webhooks_waiting.value());
        text.begin(&Metric {
            name: "agent_auth_webhook_deliveries_oldest_seconds",
            kind: Kind::Gauge,
            help: "How long the oldest of them has waited.",
        })
        .add(&[], self.webhooks_oldest.value());
        text.begin(&Metric {
            name: "agent_auth_webhook_deliveries_dead",
            kind: Kind::Gauge,
            help: "Events whose delivery to a webhook was given up and that can be sent again; counted every minute.",
        })
        .add(&[], self.webhooks_dead.value());
    }

    fn write_database(&self, text: &mut Text) {
        text.begin(&Metric {
            name: "agent_auth_database_reachable",
            kind: Kind::Gauge,
            help: "1 when no connection to the database failed in the last 15 seconds.",
        })
        .add(&[], self.database_reachable.value());
        text.begin(&Metric {
            name: "agent_auth_database_connections",
            kind: Kind::Gauge,
            help: "Open database connections.",
        })
        .add_each(&[], "state", &self.connections, Gauge::value);
        text.begin(&Metric {
            name: "agent_auth_database_connections_max",
            kind: Kind::Gauge,
            help: "How many database connections may be open.",
        })
        .add(&[], self.connections_max.value());
        text.begin(&Metric {
            name: "agent_auth_database_connection_wait_seconds",
            kind: Kind::Histogram,
            help: "How long statements and transactions waited for a connection of the pool.",
        })
        .add_histogram(&[], &self.connection_wait);
        let mut samples = text.begin(&Metric {
            name: "agent_auth_database_statement_seconds",
            kind: Kind::Histogram,
            help: "Duration of statements, without the wait for a connection.",
        });
        for (kind, histogram) in self.statements.iter() {
            samples.add_histogram(&[("kind", kind)], histogram);
        }
        let mut samples = text.begin(&Metric {
            name: "agent_auth_listener_connected",
            kind: Kind::Gauge,
            help: "1 while the messages of other replicas are received (PostgreSQL only).",
        });
        if let Some(listener) = self.listener.get() {
            samples.add(&[], listener.value());
        }
    }

    fn write_audit(&self, text: &mut Text) {
        text.begin(&Metric {
            name: "agent_auth_audit_handouts_waiting",
            kind: Kind::Gauge,
            help: "Hand-outs of tokens that are not in the audit log yet.",
        })
        .add(&[], self.handouts_waiting.value());
        #[expect(clippy::cast_precision_loss, reason = "no hand-out waits for centuries")]
        let oldest = self.handouts_oldest.value() as f64 / 1e3;
        text.begin(&Metric {
            name: "agent_auth_audit_handouts_oldest_seconds",
            kind: Kind::Gauge,
            help: "How long the oldest of them has waited.",
        })
        .add(&[], oldest);
        text.begin(&Metric {
            name: "agent_auth_audit_failures_total",
            kind: Kind::Counter,
            help: "Attempts to write the audit log that failed although the database works.",
        })
        .add(&[], self.audit_failures.value());
    }

    fn write_process(&self, text: &mut Text) {
        text.begin(&Metric { name: "agent_auth_build_info", kind: Kind::Gauge, help: "The version that runs." }).add(
            &[("version", env!("CARGO_PKG_VERSION")), ("database", self.database.get().copied().unwrap_or(NONE))],
            1,
        );
        let process = process::read();
        for (metric, value) in [
            (
                Metric {
                    name: "process_resident_memory_bytes",
                    kind: Kind::Gauge,
                    help: "Memory of the process that is in RAM.",
                },
                process.resident_bytes,
            ),
            (
                Metric { name: "process_open_fds", kind: Kind::Gauge, help: "Open file descriptors." },
                process.open_files,
            ),
            (
                Metric { name: "process_max_fds", kind: Kind::Gauge, help: "How many file descriptors may be open." },
                process.open_files_max,
            ),
        ] {
            let mut samples = text.begin(&metric);
            if let Some(value) = value {
                samples.add(&[], value);
            }
        }
    }
}
