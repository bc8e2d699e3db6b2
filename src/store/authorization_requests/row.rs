//! The rows of authorization requests: writing a new one, and reading.
//! Owns: the columns, and their sealing.
//! Must not know: how a request is taken or ends.

use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    model::{
        actor::Act,
        audit::EventName,
        authorization_request::{AuthorizationRequest, Polling, RequestOutcome, Status},
        consent::Consent,
        grant::GrantRequest,
        key_limits::Reach,
        subject::{Subject, Tenant},
    },
    store::{
        client::ClientRow,
        db::insert_into,
        error::StoreError,
        handle::Store,
        key_limits::in_limit,
        seal::{
            REQUEST_AUTHORIZATION_URL, REQUEST_CLIENT_SECRET, REQUEST_CODE, REQUEST_CODE_VERIFIER, REQUEST_DEVICE_CODE,
            REQUEST_USER_CODE,
        },
    },
};

#[derive(sqlx::FromRow)]
pub(super) struct AuthorizationRequestRow {
    pub(super) id: Uuid,
    organization_id: String,
    workspace_id: String,
    provider: Uuid,
    provider_id: String,
    redirect_uri: String,
    user_id: String,
    ls_user_id: Option<String>,
    agent_id: String,
    scopes: Json<Vec<String>>,
    is_default: bool,
    force_new: bool,
    status: Status,
    taken_at: Option<DateTime<Utc>>,
    expires_at: DateTime<Utc>,
    code_verifier: Option<Vec<u8>>,
    device_code: Option<Vec<u8>>,
    poll_seconds: Option<i64>,
    consent: Consent,
    authorization_url: Option<Vec<u8>>,
    user_code: Option<Vec<u8>>,
    browser_hash: Option<Vec<u8>>,
    return_url: Option<String>,
    code: Option<Vec<u8>>,
    confirmation_hash: Option<Vec<u8>>,
    #[sqlx(flatten)]
    client: ClientRow,
    code_hash: Option<Vec<u8>>,
    token: Option<Uuid>,
    error: Option<String>,
    error_description: Option<String>,
}

/// The columns of an [`AuthorizationRequestRow`].
macro_rules! request_columns {
    () => {
        "id, organization_id, workspace_id, provider, provider_id, redirect_uri, user_id, ls_user_id, agent_id, scopes,
         is_default, force_new, status, taken_at, expires_at, code_verifier, device_code, poll_seconds, consent,
         authorization_url, user_code, browser_hash, return_url, code, confirmation_hash, client_id, client_secret,
         token_endpoint_auth_method, token_url, revocation_url, options, code_hash, token, error, error_description"
    };
}
pub(super) use request_columns;

impl AuthorizationRequestRow {
    pub(super) fn tenant(&self) -> Tenant {
        Tenant { organization: self.organization_id.clone(), workspace: self.workspace_id.clone() }
    }
}

/// What a new row has, in the order in which it is bound.
const COLUMNS: [&str; 27] = [
    "id",
    "organization_id",
    "workspace_id",
    "provider",
    "provider_id",
    "redirect_uri",
    "user_id",
    "ls_user_id",
    "agent_id",
    "scopes",
    "is_default",
    "force_new",
    "status",
    "taken_at",
    "expires_at",
    "code_verifier",
    "device_code",
    "poll_seconds",
    "poll_at",
    "state_hash",
    "reference_hash",
    "consent",
    "authorization_url",
    "user_code",
    "browser_hash",
    "return_url",
    "created_at",
];

/// The secrets that a browser brings to a request, of which only hashes are stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestHashes {
    /// Of the state. A person who consents on another device does not come back here: such a request has no state.
    pub state: Option<[u8; 32]>,
    /// Of the reference in the URL of our page, if the person is sent there.
    pub reference: Option<[u8; 32]>,
}

static INSERT: LazyLock<String> =
    LazyLock::new(|| insert_into("authorization_requests", &[&COLUMNS, &ClientRow::COLUMNS]));

impl Store {
    /// Stores a new authorization request.
    pub async fn create_authorization_request(
        &self,
        request: &AuthorizationRequest,
        hashes: RequestHashes,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let r = request.clone();
        let seal = self.row_seal(&request.wanted.subject.tenant, request.id, 0);
        let poll_seconds = r.device.as_ref().map(|polling| polling.seconds);
        let poll_at = poll_seconds.and_then(|seconds| now.checked_add_signed(TimeDelta::seconds(seconds)));
        let device_code = r.device.as_ref().map(|polling| &polling.device_code);
        let user_code = r.device.as_ref().and_then(|polling| polling.user_code.as_ref());
        let mut tx = self.db.begin().await?;
        let query = tx
            .query(&INSERT)
            .bind(r.id)
            .within(&r.wanted.subject.tenant)
            .bind(r.wanted.provider)
            .bind(r.provider_id)
            .bind(r.redirect_uri)
            .bind(r.wanted.subject.user_id)
            .bind(r.wanted.ls_user_id)
            .bind(r.wanted.subject.agent_id)
            .bind(Json(r.wanted.scopes))
            .bind(r.wanted.is_default)
            .bind(r.wanted.force_new)
            .bind(r.status)
            .bind(r.taken_at)
            .bind(r.expires_at)
            .bind(seal.seal_optional(REQUEST_CODE_VERIFIER, r.code_verifier.as_ref())?)
            .bind(seal.seal_optional(REQUEST_DEVICE_CODE, device_code)?)
            .bind(poll_seconds)
            .bind(poll_at)
            .bind(hashes.state.map(|hash| hash.to_vec()))
            .bind(hashes.reference.map(|hash| hash.to_vec()))
            .bind(r.consent)
            .bind(seal.seal_optional(REQUEST_AUTHORIZATION_URL, r.authorization_url.as_ref())?)
            .bind(seal.seal_optional(REQUEST_USER_CODE, user_code)?)
            .bind(r.browser_hash)
            .bind(r.return_url)
            .bind(now);
        ClientRow::seal(&r.client, &seal, REQUEST_CLIENT_SECRET)?.bind(query).execute().await?;
        self.record(&mut tx, vec![request.event(EventName::ConsentBegun, act, now)]).await?;
        tx.commit().await
    }

    /// The request of this state, in any status, for a browser that comes back again. The state itself proves that the
    /// browser belongs to the request; no tenant is known yet.
    pub async fn authorization_request_of_state(
        &self,
        state_hash: [u8; 32],
    ) -> Result<Option<AuthorizationRequest>, StoreError> {
        let row: Option<AuthorizationRequestRow> = self
            .db
            .query(concat!("SELECT ", request_columns!(), " FROM authorization_requests WHERE state_hash = $1"))
            .bind(state_hash.to_vec())
            .read()
            .optional()
            .await?;
        row.map(|row| self.open_authorization_request(row)).transpose()
    }

    /// The request an application waits for.
    pub async fn authorization_request(
        &self,
        reach: Reach<'_>,
        id: Uuid,
    ) -> Result<Option<AuthorizationRequest>, StoreError> {
        let row: Option<AuthorizationRequestRow> = self
            .db
            .query(concat!(
                "SELECT ",
                request_columns!(),
                " FROM authorization_requests
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND ",
                in_limit!("$4", "providers", "provider_id"),
                " AND ",
                in_limit!("$4", "agents", "agent_id"),
                " AND ",
                in_limit!("$4", "users", "user_id")
            ))
            .within(reach.tenant)
            .bind(id)
            .limited(reach.limits)
            .read()
            .optional()
            .await?;
        row.map(|row| self.open_authorization_request(row)).transpose()
    }

    /// What a browser that came back is shown of its request.
    pub async fn authorization_outcome(
        &self,
        provider_id: &str,
        id: Uuid,
    ) -> Result<Option<RequestOutcome>, StoreError> {
        self.db
            .query(
                "SELECT p.name AS provider, r.status, r.return_url FROM authorization_requests r JOIN providers p ON p.id = r.provider
                 WHERE r.id = $1 AND r.provider_id = $2",
            )
            .bind(id)
            .bind(provider_id.to_owned())
            .read()
            .optional()
            .await
    }

    /// The requests of all tenants that ended since `since`, for a replica that may have missed a notification.
    pub async fn authorization_requests_finished_since(&self, since: DateTime<Utc>) -> Result<Vec<Uuid>, StoreError> {
        let finished: Vec<(Uuid,)> = self
            .db
            .query("SELECT id FROM authorization_requests WHERE finished_at >= $1")
            .bind(since)
            .read()
            .all()
            .await?;
        Ok(finished.into_iter().map(|(id,)| id).collect())
    }

    pub(super) fn open_authorization_request(
        &self,
        row: AuthorizationRequestRow,
    ) -> Result<AuthorizationRequest, StoreError> {
        let tenant = row.tenant();
        let seal = self.row_seal(&tenant, row.id, 0);
        let client = row.client.open(&seal, REQUEST_CLIENT_SECRET)?;
        let code_verifier = seal.open_optional(REQUEST_CODE_VERIFIER, row.code_verifier.as_ref())?;
        let device_code = seal.open_optional(REQUEST_DEVICE_CODE, row.device_code.as_ref())?;
        let user_code = seal.open_optional(REQUEST_USER_CODE, row.user_code.as_ref())?;
        let authorization_url = seal.open_optional(REQUEST_AUTHORIZATION_URL, row.authorization_url.as_ref())?;
        let code = seal.open_optional(REQUEST_CODE, row.code.as_ref())?;
        let device = device_code.zip(row.poll_seconds);
        Ok(AuthorizationRequest {
            id: row.id,
            wanted: GrantRequest {
                provider: row.provider,
                subject: Subject { tenant, user_id: row.user_id, agent_id: row.agent_id },
                ls_user_id: row.ls_user_id,
                scopes: row.scopes.0,
                is_default: row.is_default,
                force_new: row.force_new,
            },
            provider_id: row.provider_id,
            client,
            redirect_uri: row.redirect_uri,
            code_verifier,
            consent: row.consent,
            authorization_url,
            browser_hash: row.browser_hash,
            return_url: row.return_url,
            code,
            confirmation_hash: row.confirmation_hash,
            device: device.map(|(device_code, seconds)| Polling { device_code, seconds, user_code }),
            status: row.status,
            code_hash: row.code_hash,
            taken_at: row.taken_at,
            token: row.token,
            error: row.error,
            error_description: row.error_description,
            expires_at: row.expires_at,
        })
    }
}
