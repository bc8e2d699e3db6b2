//! Authorization requests: one attempt each to get a person's consent.
//! Owns: the table `authorization_requests`; that a state is taken once.
//! Must not know: what an authorization URL looks like, or what the code is exchanged for.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    cipher::Place,
    model::{client::ClientAuthentication, options::ProviderOptions},
    store::{Store, StoreError, Subject, Tenant},
};

/// Where an authorization request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    /// The person has not come back yet.
    Pending,
    /// The person came back and the code is being exchanged.
    Exchanging,
    /// There is a token.
    Completed,
    /// The consent was denied, or the provider refused.
    Failed,
}

/// An authorization request, with the endpoints, client and redirect URI it was begun with.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest {
    /// The record's id; `auth_id` on the wire.
    pub id: Uuid,
    /// Whose token it is to become.
    pub subject: Subject,
    /// The caller on whose behalf, as the platform names it.
    pub ls_user_id: Option<String>,
    /// The provider's record.
    pub provider: Uuid,
    /// The provider's name on the wire; the callback's path must name it.
    pub provider_id: String,
    /// Our client there.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Option<SecretString>,
    /// How we authenticate at the token endpoint.
    pub token_endpoint_auth_method: ClientAuthentication,
    /// Where the code goes, whatever the provider's record says by then.
    pub token_url: String,
    /// Where the grant is revoked should it find nobody to keep it, if not where it is known of the provider.
    pub revocation_url: Option<String>,
    /// What the provider needed beyond the published fields.
    pub options: ProviderOptions,
    /// Sent again, byte for byte, with the code (RFC 6749 section 4.1.3).
    pub redirect_uri: String,
    /// The PKCE verifier (RFC 7636), if a challenge was sent.
    pub code_verifier: Option<SecretString>,
    /// What the provider is asked with whether a person has consented on another device (RFC 8628), and how often.
    pub device: Option<Polling>,
    /// The requested scopes.
    pub scopes: Vec<String>,
    /// Whether the token is to become the subject's default.
    pub is_default: bool,
    /// Whether the token may stand beside one that is there.
    pub force_new: bool,
    /// Where it stands.
    pub status: Status,
    /// SHA-256 of the code it was taken with.
    pub code_hash: Option<Vec<u8>>,
    /// When it was taken.
    pub taken_at: Option<DateTime<Utc>>,
    /// The token it became.
    pub token: Option<Uuid>,
    /// The provider's error code, or ours.
    pub error: Option<String>,
    /// The provider's explanation.
    pub error_description: Option<String>,
    /// Until when the person may come back; once completed, until when the result can be read.
    pub expires_at: DateTime<Utc>,
}

/// How it is found out whether a person has consented on another device.
#[derive(Clone, Debug)]
pub struct Polling {
    /// What is brought to the token endpoint.
    pub device_code: SecretString,
    /// How many seconds lie between two questions at the least.
    pub seconds: i64,
}

#[derive(sqlx::FromRow)]
pub(in crate::store) struct AuthorizationRequestRow {
    id: Uuid,
    organization_id: String,
    workspace_id: String,
    provider: Uuid,
    provider_id: String,
    code_verifier: Option<Vec<u8>>,
    device_code: Option<Vec<u8>>,
    poll_seconds: Option<i64>,
    client_id: String,
    client_secret: Option<Vec<u8>>,
    token_endpoint_auth_method: ClientAuthentication,
    token_url: String,
    revocation_url: Option<String>,
    options: Json<ProviderOptions>,
    redirect_uri: String,
    user_id: String,
    ls_user_id: Option<String>,
    agent_id: String,
    scopes: Json<Vec<String>>,
    is_default: bool,
    force_new: bool,
    status: Status,
    code_hash: Option<Vec<u8>>,
    taken_at: Option<DateTime<Utc>>,
    token: Option<Uuid>,
    error: Option<String>,
    error_description: Option<String>,
    expires_at: DateTime<Utc>,
}

fn place<'a>(tenant: &'a Tenant, column: &'static str, id: Uuid) -> Place<'a> {
    Place {
        column: ("authorization_requests", column),
        organization: &tenant.organization,
        workspace: &tenant.workspace,
        row: id,
        generation: 0,
    }
}

impl Store {
    /// Keeps a new authorization request under the SHA-256 of its state.
    pub async fn create_authorization_request(
        &self,
        request: &AuthorizationRequest,
        state_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let r = request.clone();
        let tenant = &request.subject.tenant;
        let seal = |column, value: &Option<SecretString>| {
            value.as_ref().map(|value| self.keys.seal(&place(tenant, column, request.id), value)).transpose()
        };
        let (verifier, secret) = (seal("code_verifier", &r.code_verifier)?, seal("client_secret", &r.client_secret)?);
        let poll_seconds = r.device.as_ref().map(|polling| polling.seconds);
        let poll_at = poll_seconds.and_then(|seconds| now.checked_add_signed(TimeDelta::seconds(seconds)));
        let device_code = seal("device_code", &r.device.map(|polling| polling.device_code))?;
        self.db
            .query(
                "INSERT INTO authorization_requests (id, organization_id, workspace_id, provider, provider_id,
                    state_hash, code_verifier, client_id, client_secret, token_endpoint_auth_method, token_url,
                    redirect_uri, user_id, ls_user_id, agent_id, scopes, is_default, force_new, status, created_at,
                    expires_at, revocation_url, options, taken_at, device_code, poll_seconds, poll_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
                    $21, $22, $23, $24, $25, $26, $27)",
            )
            .bind(r.id)
            .bind(r.subject.tenant.organization)
            .bind(r.subject.tenant.workspace)
            .bind(r.provider)
            .bind(r.provider_id)
            .bind(state_hash.to_vec())
            .bind(verifier)
            .bind(r.client_id)
            .bind(secret)
            .bind(r.token_endpoint_auth_method)
            .bind(r.token_url)
            .bind(r.redirect_uri)
            .bind(r.subject.user_id)
            .bind(r.ls_user_id)
            .bind(r.subject.agent_id)
            .bind(Json(r.scopes))
            .bind(r.is_default)
            .bind(r.force_new)
            .bind(r.status)
            .bind(now)
            .bind(r.expires_at)
            .bind(r.revocation_url)
            .bind(Json(r.options))
            .bind(r.taken_at)
            .bind(device_code)
            .bind(poll_seconds)
            .bind(poll_at)
            .execute()
            .await?;
        Ok(())
    }

    /// Takes the pending request of this state for the exchange of a code: of any number of callers, one gets it.
    /// A state that belongs to another provider than the callback's is not taken (a provider must not be able to
    /// have another one's code sent to itself).
    pub async fn take_authorization_request(
        &self,
        state_hash: [u8; 32],
        provider_id: &str,
        code_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Option<AuthorizationRequest>, StoreError> {
        let row: Option<AuthorizationRequestRow> = self
            .db
            .query(
                "UPDATE authorization_requests SET status = 'exchanging', code_hash = $3, taken_at = $4
                 WHERE state_hash = $1 AND provider_id = $2 AND status = 'pending' AND expires_at > $4
                 RETURNING *",
            )
            .bind(state_hash.to_vec())
            .bind(provider_id.to_owned())
            .bind(code_hash.to_vec())
            .bind(now)
            .optional()
            .await?;
        let Some(row) = row else { return Ok(None) };
        let id = row.id;
        match self.open_authorization_request(row) {
            Ok(request) => Ok(Some(request)),
            Err(error) => {
                // This replica lacks a key: the code is not spent yet, and another replica may have the key.
                self.db
                    .query(
                        "UPDATE authorization_requests SET status = 'pending', code_hash = NULL, taken_at = NULL
                         WHERE id = $1 AND status = 'exchanging'",
                    )
                    .bind(id)
                    .execute()
                    .await?;
                Err(error)
            }
        }
    }

    /// Ends the pending request of this state because the provider sent the person back with an error.
    pub async fn refuse_authorization_request(
        &self,
        state_hash: [u8; 32],
        provider_id: &str,
        error: &str,
        error_description: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Option<AuthorizationRequest>, StoreError> {
        let row: Option<AuthorizationRequestRow> = self
            .db
            .query(
                "UPDATE authorization_requests
                 SET status = 'failed', error = $3, error_description = $4, finished_at = $5, code_verifier = NULL,
                     client_secret = NULL, device_code = NULL, poll_at = NULL
                 WHERE state_hash = $1 AND provider_id = $2 AND status = 'pending' AND expires_at > $5
                 RETURNING *",
            )
            .bind(state_hash.to_vec())
            .bind(provider_id.to_owned())
            .bind(error.to_owned())
            .bind(error_description.map(ToOwned::to_owned))
            .bind(now)
            .optional()
            .await?;
        row.map(|row| self.open_authorization_request(row)).transpose()
    }

    /// Ends a request whose code could not be exchanged.
    pub async fn fail_authorization_request(
        &self,
        request: &AuthorizationRequest,
        error: &str,
        error_description: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.db
            .query(
                "UPDATE authorization_requests
                 SET status = 'failed', error = $4, error_description = $5, finished_at = $6, code_verifier = NULL,
                     client_secret = NULL, device_code = NULL, poll_at = NULL
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND status = 'exchanging'",
            )
            .within(&request.subject.tenant)
            .bind(request.id)
            .bind(error.to_owned())
            .bind(error_description.map(ToOwned::to_owned))
            .bind(now)
            .execute()
            .await?;
        Ok(())
    }

    /// The request of this state, in whatever status, for a browser that comes back again. The state itself is the
    /// proof that the browser belongs to it; no tenant is known yet.
    pub async fn authorization_request_of_state(
        &self,
        state_hash: [u8; 32],
    ) -> Result<Option<AuthorizationRequest>, StoreError> {
        let row: Option<AuthorizationRequestRow> = self
            .db
            .query("SELECT * FROM authorization_requests WHERE state_hash = $1")
            .bind(state_hash.to_vec())
            .optional()
            .await?;
        row.map(|row| self.open_authorization_request(row)).transpose()
    }

    /// The request an application waits for.
    pub async fn authorization_request(
        &self,
        tenant: &Tenant,
        id: Uuid,
    ) -> Result<Option<AuthorizationRequest>, StoreError> {
        let row: Option<AuthorizationRequestRow> = self
            .db
            .query("SELECT * FROM authorization_requests WHERE organization_id = $1 AND workspace_id = $2 AND id = $3")
            .within(tenant)
            .bind(id)
            .optional()
            .await?;
        row.map(|row| self.open_authorization_request(row)).transpose()
    }

    /// What the page after the callback says: the provider's name for people, and where the request stands.
    pub async fn authorization_outcome(
        &self,
        provider_id: &str,
        id: Uuid,
    ) -> Result<Option<(String, Status)>, StoreError> {
        self.db
            .query(
                "SELECT p.name, r.status FROM authorization_requests r JOIN providers p ON p.id = r.provider
                 WHERE r.id = $1 AND r.provider_id = $2",
            )
            .bind(id)
            .bind(provider_id.to_owned())
            .optional()
            .await
    }

    /// The requests of all tenants that ended since `since`: what waiters of a replica that missed a hint look for.
    pub async fn authorization_requests_finished_since(&self, since: DateTime<Utc>) -> Result<Vec<Uuid>, StoreError> {
        let finished: Vec<(Uuid,)> =
            self.db.query("SELECT id FROM authorization_requests WHERE finished_at >= $1").bind(since).all().await?;
        Ok(finished.into_iter().map(|(id,)| id).collect())
    }

    pub(in crate::store) fn open_authorization_request(
        &self,
        row: AuthorizationRequestRow,
    ) -> Result<AuthorizationRequest, StoreError> {
        let tenant = Tenant { organization: row.organization_id, workspace: row.workspace_id };
        let open = |column, sealed: Option<Vec<u8>>| {
            sealed.map(|sealed| self.keys.open(&place(&tenant, column, row.id), &sealed)).transpose()
        };
        let (code_verifier, client_secret) =
            (open("code_verifier", row.code_verifier)?, open("client_secret", row.client_secret)?);
        let device = open("device_code", row.device_code)?
            .zip(row.poll_seconds)
            .map(|(device_code, seconds)| Polling { device_code, seconds });
        Ok(AuthorizationRequest {
            id: row.id,
            subject: Subject { tenant, user_id: row.user_id, agent_id: row.agent_id },
            ls_user_id: row.ls_user_id,
            provider: row.provider,
            provider_id: row.provider_id,
            client_id: row.client_id,
            client_secret,
            token_endpoint_auth_method: row.token_endpoint_auth_method,
            token_url: row.token_url,
            revocation_url: row.revocation_url,
            options: row.options.0,
            redirect_uri: row.redirect_uri,
            code_verifier,
            device,
            scopes: row.scopes.0,
            is_default: row.is_default,
            force_new: row.force_new,
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
