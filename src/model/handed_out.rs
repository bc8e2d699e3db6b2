//! Hand-outs of tokens that wait to be recorded: many of them in a few pieces of memory.
//! Owns: what the audit log says of a hand-out, in a compact form.
//! Must not know: when hand-outs are recorded.
//!
//! With an allocation for each text, which another thread gives back, recording a hand-out takes several times as long. Here
//! its texts are appended to those of the others, and its scopes are those of one shortly before.

use std::{collections::BTreeMap, fmt::Write, net::IpAddr};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    actor::{Act, ActorKind},
    audit::{EventFields, EventName, EventResult},
    token::Token,
};

static NO_DETAILS: BTreeMap<String, String> = BTreeMap::new();

/// Among so many lists of scopes, the latest, the ones of a hand-out are looked for.
const RECENT_SCOPES: usize = 16;

/// Hand-outs in one organization, in the order in which they happened.
#[derive(Debug)]
pub struct HandedOut {
    organization: String,
    handouts: Vec<Handout>,
    /// The texts of all hand-outs, one after the other.
    texts: String,
    /// The lists of scopes of the hand-outs.
    scopes: Vec<Vec<String>>,
}

#[derive(Debug)]
struct Handout {
    at: DateTime<Utc>,
    token: Uuid,
    actor: ActorKind,
    /// Which of the lists of scopes it has.
    scopes: usize,
    /// How many bytes each of its texts has; `None` for a text that is missing.
    lengths: [Option<u32>; 7],
}

impl HandedOut {
    /// None yet in this organization.
    #[must_use]
    pub fn new(organization: &str) -> Self {
        let organization = organization.to_owned();
        Self { organization, handouts: Vec::new(), texts: String::new(), scopes: Vec::new() }
    }

    /// None yet, with room for as many as these are.
    #[must_use]
    pub fn another(&self) -> Self {
        let handouts = Vec::with_capacity(self.handouts.len());
        Self { handouts, texts: String::with_capacity(self.texts.len()), ..Self::new(&self.organization) }
    }

    /// Adds that `token`, which belongs to this organization, was handed out to this agent. An empty text is nobody.
    pub fn add(&mut self, token: &Token, agent_id: &str, act: &Act, at: DateTime<Utc>) {
        let somebody = |id| Some(id).filter(|id: &&str| !id.is_empty());
        let lengths = [
            self.add_text(act.actor.id.as_deref()),
            self.add_text(Some(&token.subject.tenant.workspace)),
            self.add_text(somebody(&token.subject.user_id)),
            self.add_text(somebody(agent_id)),
            self.add_text(Some(&token.provider_id)),
            self.add_text(act.request_id.as_deref()),
            self.add_address(act.address),
        ];
        let scopes = self.list_of(&token.scopes);
        self.handouts.push(Handout { at, token: token.id, actor: act.actor.kind, scopes, lengths });
    }

    fn add_text(&mut self, text: Option<&str>) -> Option<u32> {
        self.texts.push_str(text?);
        text.map(|text| length(text.len()))
    }

    fn add_address(&mut self, address: Option<IpAddr>) -> Option<u32> {
        let before = self.texts.len();
        // Writing to a text does not fail.
        write!(self.texts, "{}", address?).ok()?;
        Some(length(self.texts.len() - before))
    }

    fn list_of(&mut self, scopes: &[String]) -> usize {
        let mut recent = self.scopes.iter().enumerate().rev().take(RECENT_SCOPES);
        if let Some((list, _)) = recent.find(|(_, list)| *list == scopes) {
            return list;
        }
        self.scopes.push(scopes.to_vec());
        self.scopes.len() - 1
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
    pub fn events(&self) -> impl ExactSizeIterator<Item = EventFields<'_>> {
        let mut rest = self.texts.as_str();
        self.handouts.iter().map(move |handout| {
            let [actor_id, workspace_id, user_id, agent_id, provider_id, request_id, address] =
                handout.lengths.map(|length| {
                    let text;
                    (text, rest) = rest.split_at(length? as usize);
                    Some(text)
                });
            EventFields {
                organization_id: &self.organization,
                at: handout.at,
                event: EventName::TokenHandedOut.as_str(),
                result: EventResult::Ok.as_str(),
                actor: handout.actor.as_str(),
                actor_id,
                workspace_id: workspace_id.unwrap_or_default(),
                user_id,
                agent_id,
                provider_id,
                token_id: Some(handout.token),
                auth_id: None,
                scopes: self.scopes.get(handout.scopes).map(Vec::as_slice).unwrap_or_default(),
                error: None,
                details: &NO_DETAILS,
                request_id,
                address,
            }
        })
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
        assert_eq!(handed_out.events().collect::<Vec<_>>(), expected);
        assert_eq!((handed_out.len(), handed_out.since()), (4, Some(at)));
    }

    #[test]
    fn each_handout_has_its_own_scopes_among_many_lists() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap();
        let lists: Vec<String> = (0..3 * RECENT_SCOPES).map(|list| format!("scope-{list}")).collect();
        let mut handed_out = HandedOut::new("org");
        for scope in lists.iter().flat_map(|scope| [scope, scope]) {
            handed_out.add(&token("alice", &[scope, "z"], at), "", &Act::service(), at);
        }
        let scopes: Vec<&str> = handed_out.events().map(|event| event.scopes[0].as_str()).collect();
        assert_eq!(scopes, lists.iter().flat_map(|scope| [scope, scope]).collect::<Vec<_>>());
        assert_eq!(handed_out.scopes.len(), lists.len(), "a list is kept once");
        assert!(handed_out.another().is_empty());
    }
}
