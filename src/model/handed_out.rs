//! Hand-outs of tokens that wait to be recorded: many of them in a few pieces of memory.
//! Owns: what the audit log says of a hand-out, in a compact form.
//! Must not know: when hand-outs are recorded.
//!
//! With an allocation for each text, which another thread gives back, recording a hand-out takes several times as long. Here
//! its texts are appended to those of the others.

use std::{collections::BTreeMap, fmt::Write};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    actor::{Act, ActorKind},
    audit::{EventFields, EventName, EventResult},
    token::Token,
};

static NO_DETAILS: BTreeMap<String, String> = BTreeMap::new();

/// Hand-outs in one organization, in the order in which they happened.
#[derive(Debug)]
pub struct HandedOut {
    organization: String,
    handouts: Vec<Handout>,
    /// The texts of all hand-outs, one after the other: those that each has, then its scopes.
    texts: String,
    /// How many bytes each text has; `None` for a text that is missing.
    lengths: Vec<Option<u32>>,
}

#[derive(Debug)]
struct Handout {
    at: DateTime<Utc>,
    token: Uuid,
    actor: ActorKind,
    scopes: usize,
}

impl HandedOut {
    /// None yet in this organization.
    #[must_use]
    pub fn new(organization: &str) -> Self {
        let organization = organization.to_owned();
        Self { organization, handouts: Vec::new(), texts: String::new(), lengths: Vec::new() }
    }

    /// Adds that `token`, which belongs to this organization, was handed out to this agent. An empty text is nobody.
    pub fn add(&mut self, token: &Token, agent_id: &str, act: &Act, at: DateTime<Utc>) {
        self.handouts.push(Handout { at, token: token.id, actor: act.actor.kind, scopes: token.scopes.len() });
        self.add_text(act.actor.id.as_deref());
        self.add_text(Some(&token.subject.tenant.workspace));
        for text in [&token.subject.user_id, agent_id] {
            self.add_text(Some(text).filter(|text| !text.is_empty()));
        }
        self.add_text(Some(&token.provider_id));
        self.add_text(act.request_id.as_deref());
        let before = self.texts.len();
        // Writing to a text does not fail.
        let shown = act.address.filter(|address| write!(self.texts, "{address}").is_ok());
        self.lengths.push(shown.map(|_| length(self.texts.len() - before)));
        for scope in &token.scopes {
            self.add_text(Some(scope));
        }
    }

    fn add_text(&mut self, text: Option<&str>) {
        self.texts.push_str(text.unwrap_or_default());
        self.lengths.push(text.map(|text| length(text.len())));
    }

    /// Their organization.
    #[must_use]
    pub fn organization(&self) -> &str {
        &self.organization
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.handouts.len()
    }

    /// True without any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.handouts.is_empty()
    }

    /// When the first of them happened.
    #[must_use]
    pub fn since(&self) -> Option<DateTime<Utc>> {
        self.handouts.first().map(|handout| handout.at)
    }

    /// The events, in their order.
    #[must_use]
    pub fn events(&self) -> Vec<EventFields<'_>> {
        let (mut lengths, mut rest) = (self.lengths.iter(), self.texts.as_str());
        let mut next = || {
            let length = (*lengths.next()?)?;
            let text;
            (text, rest) = rest.split_at(length as usize);
            Some(text)
        };
        // In the order in which they were added.
        let event = |handout: &Handout| EventFields {
            organization_id: &self.organization,
            at: handout.at,
            event: EventName::TokenHandedOut.as_str(),
            result: EventResult::Ok.as_str(),
            actor: handout.actor.as_str(),
            token_id: Some(handout.token),
            auth_id: None,
            error: None,
            details: &NO_DETAILS,
            actor_id: next(),
            workspace_id: next().unwrap_or_default(),
            user_id: next(),
            agent_id: next(),
            provider_id: next(),
            request_id: next(),
            address: next(),
            scopes: (0..handout.scopes).filter_map(|_| next()).collect(),
        };
        self.handouts.iter().map(event).collect()
    }
}

/// The texts of a request are far shorter than four gigabytes.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::model::{
        audit::{Event, RecordedEvent},
        subject::{Subject, Tenant},
        token::State,
    };

    fn token(user: &str, scopes: &[&str], at: DateTime<Utc>) -> Token {
        Token {
            id: Uuid::now_v7(),
            subject: Subject {
                tenant: Tenant { organization: "org".into(), workspace: "ws".into() },
                user_id: user.into(),
                agent_id: "the agent that the token is for".into(),
            },
            provider: Uuid::nil(),
            provider_id: "acme".into(),
            account_label: None,
            access_token: "secret".into(),
            has_refresh_token: false,
            scopes: scopes.iter().map(|&scope| scope.into()).collect(),
            metadata: Map::new(),
            is_default: true,
            state: State::Active,
            expires_at: None,
            refresh_due_at: None,
            obtained_at: at,
            retry_at: None,
            last_used_at: None,
            generation: 0,
        }
    }

    #[test]
    fn a_handout_says_what_an_event_of_its_token_says() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap();
        let by_key = Act {
            request_id: Some("r".into()),
            address: "2001:db8::1".parse().ok(),
            ..Act::new(ActorKind::ApiKey, Some("key".into()))
        };
        let cases = [
            (token("älice", &["a", "", "b c"], at), "agent", by_key.clone()),
            (token("bob", &[], at), "", Act::new(ActorKind::Langsmith, None)),
            (token("", &["€"], at), "agent", Act { request_id: Some(String::new()), ..Act::service() }),
            (token("carol", &["z"], at), "x", Act { address: "192.0.2.1".parse().ok(), ..by_key }),
        ];
        let mut handed_out = HandedOut::new("org");
        let mut expected = Vec::new();
        for (token, agent, act) in &cases {
            handed_out.add(token, agent, act, at);
            let event = Event::of_token(EventName::TokenHandedOut, token, act, at);
            expected.push(RecordedEvent::new(event.of(&token.subject.user_id, agent)));
        }
        let expected: Vec<EventFields<'_>> = expected.iter().map(RecordedEvent::fields).collect();
        assert_eq!(handed_out.events(), expected);
        assert_eq!((handed_out.len(), handed_out.since()), (4, Some(at)));
    }
}
