//! Actors: who performs an operation, and through which request.
//! Owns: these two nouns. They are passed with every operation that the audit log records.
//! Must not know: how an actor proves who they are.

use std::net::IpAddr;

/// What kind of actor it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActorKind {
    /// An API key of this server; its id is that of the key's record.
    ApiKey,
    /// A user or a service key of LangSmith.
    Langsmith,
    /// A person who signed in to the console.
    ConsoleUser,
    /// A command, run by somebody who has the settings of the server.
    CommandLine,
    /// A browser that opened one of our pages, and whose person is not known beyond its link.
    Browser,
    /// The service itself: a job.
    Service,
    /// A caller that did not prove who they are.
    Unknown,
}

impl ActorKind {
    /// Every kind with its name.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("api_key", Self::ApiKey),
        ("langsmith", Self::Langsmith),
        ("console_user", Self::ConsoleUser),
        ("command_line", Self::CommandLine),
        ("browser", Self::Browser),
        ("service", Self::Service),
        ("unknown", Self::Unknown),
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("unknown", |(name, _)| name)
    }
}

/// Who performs an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Actor {
    /// What kind of actor it is.
    pub kind: ActorKind,
    /// Which one, if the kind has several.
    pub id: Option<String>,
}

/// Who performs an operation, and through which request. An operation of the broker takes one, and the store records it.
#[derive(Clone, Debug)]
pub struct Act {
    /// Who.
    pub actor: Actor,
    /// The id of the request, as the log has it.
    pub request_id: Option<String>,
    /// The client's address, as far as it can be trusted.
    pub address: Option<IpAddr>,
}

impl Act {
    /// The act of this actor, through no request that is known yet.
    #[must_use]
    pub fn new(kind: ActorKind, id: Option<String>) -> Self {
        Self { actor: Actor { kind, id }, request_id: None, address: None }
    }

    /// The service itself, without a caller.
    #[must_use]
    pub fn service() -> Self {
        Self::new(ActorKind::Service, None)
    }

    /// Somebody at the command line.
    #[must_use]
    pub fn command_line() -> Self {
        Self::new(ActorKind::CommandLine, None)
    }
}
