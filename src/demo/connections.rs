//! The connections that the demo begins with, in every state that a connection can be in.
//! Owns: whose they are, and what happened to them. All of it goes the way of real ones: a person consents at the sample
//! provider, which then treats the grant well or badly, and an agent finds that out.
//! Must not know: what is stored.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use uuid::Uuid;

use super::{
    providers::{CALENDAR, DOCUMENTS},
    sample_provider::{
        client::SampleProvider,
        memory::Terms,
        people::{BEN, CLEO, DAN, MIA, Person, SAM, SAM_AT_WORK},
        scopes,
    },
    secrets::random_secret,
};
use crate::{
    broker::{
        consent::{
            authorization::begin_in_browser,
            completion::{CodeResponse, Completion, Source},
            exchange::complete,
            request::{Requested, consent_options},
            wait::{Waited, wait},
        },
        context::Broker,
        error::BrokerError,
        jobs::usage,
        providers::list,
        tokens::report::{MayEnd, report_invalid},
    },
    model::{
        actor::{Act, ActorKind},
        consent::Consent,
        grant::GrantRequest,
        key_limits::Reach,
        subject::{Subject, Tenant},
        token::Token,
    },
};

/// The user of the printed commands.
pub(super) const USER: &str = "you";

/// A connection to make.
struct New {
    user: &'static str,
    agent: &'static str,
    provider: &'static str,
    scope: &'static str,
    person: &'static Person,
    terms: Terms,
}

/// Makes them. The consents of the demo's user are at another provider than that of the printed commands, which are to begin
/// with a consent.
pub(super) async fn make(
    broker: &Arc<Broker>,
    tenant: &Tenant,
    sample: &SampleProvider,
    act: &Act,
) -> anyhow::Result<()> {
    let usual = Terms::default();
    let documents = |user, person, terms| New {
        user,
        agent: "assistant",
        provider: DOCUMENTS,
        scope: scopes::DOCUMENTS,
        person,
        terms,
    };
    let calendar =
        |person| New { user: USER, agent: "", provider: CALENDAR, scope: scopes::CALENDAR, person, terms: usual };
    let demo = Demo { broker, tenant, sample, act };

    // It was removed at the provider, by the person. An agent notices, because its token is rejected.
    let removed = demo.connect(calendar(&SAM_AT_WORK)).await?;
    let token = demo.hand_out(&removed).await?;
    sample.withdraw(&removed.grant);
    demo.reject(&token).await?;
    // Its refresh fails: the provider wants fewer requests.
    let put_off = Terms { can_refresh: false, ..usual };
    let failing = demo.connect(documents("dan", &DAN, put_off)).await?;
    demo.reject(&demo.hand_out(&failing).await?).await?;
    // It needs a new consent, a moment from now.
    let a_moment = Terms { access_token_lifetime: Duration::from_secs(1), has_refresh_token: false, ..usual };
    demo.connect(documents("cleo", &CLEO, a_moment)).await?;
    // It is about to expire: without a refresh token, nothing but a new consent keeps it alive.
    let few_minutes = Terms { access_token_lifetime: Duration::from_mins(10), has_refresh_token: false, ..usual };
    demo.connect(documents("ben", &BEN, few_minutes)).await?;
    // These work.
    for living in [documents("mia", &MIA, usual), calendar(&SAM)] {
        demo.hand_out(&demo.connect(living).await?).await?;
    }
    // The console shows all of it at once, and not a minute from now.
    broker.handouts.write().await?;
    Ok(usage::write(broker).await?)
}

/// A connection that was made.
struct Made {
    request: Uuid,
    agent: &'static str,
    /// The provider's name of the grant.
    grant: String,
}

struct Demo<'a> {
    broker: &'a Arc<Broker>,
    tenant: &'a Tenant,
    sample: &'a SampleProvider,
    act: &'a Act,
}

impl Demo<'_> {
    /// An agent requests a token, and a person consents.
    async fn connect(&self, new: New) -> anyhow::Result<Made> {
        let (broker, tenant) = (self.broker, self.tenant);
        let provider = list::get(broker, tenant, new.provider).await?;
        let wanted = GrantRequest {
            provider: provider.id,
            subject: Subject { tenant: tenant.clone(), user_id: new.user.into(), agent_id: new.agent.into() },
            ls_user_id: None,
            scopes: vec![new.scope.into()],
            is_default: true,
            force_new: true,
        };
        let requested = Requested { consent: Consent::Confirm, redirect_uri: None, return_url: None, login_hint: None };
        let options = consent_options(broker, &provider, requested)?;
        let cookie = random_secret();
        let url = begin_in_browser(broker, &provider, wanted, options, &cookie, self.act).await?;
        let approval = self.sample.approve(&url, new.person, new.terms).context("the sample provider refused")?;
        let response = CodeResponse { code: approval.code, iss: None, query: None };
        let source = Source::Browser { callback_tag: &provider.callback_tag, cookie: Some(&cookie) };
        let browser = Act::new(ActorKind::Browser, None);
        match complete(broker, new.provider, &approval.state, response, source, &browser).await? {
            Completion::Completed { id, .. } => Ok(Made { request: id, agent: new.agent, grant: approval.grant }),
            ended => bail!("a consent ended with {ended:?}"),
        }
    }

    /// The agent that waited gets the token.
    async fn hand_out(&self, made: &Made) -> anyhow::Result<Token> {
        let (broker, now) = (self.broker, self.broker.clock.now());
        match wait(broker, Reach::whole(self.tenant), made.request, Duration::ZERO, self.act).await? {
            Waited::Completed(token) => {
                broker.usage.note(&token, now);
                broker.handouts.record(&token, made.agent, self.act, now).await?;
                Ok(*token)
            }
            waited => bail!("a consent led to {waited:?}"),
        }
    }

    /// An agent reports that the provider's API rejected a token. What follows is for the broker to find out.
    async fn reject(&self, token: &Token) -> anyhow::Result<()> {
        let reach = Reach::whole(self.tenant);
        match report_invalid(self.broker, reach, token.id, None, MayEnd::Any, self.act).await {
            Ok(_) | Err(BrokerError::Provider(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
