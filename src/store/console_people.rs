//! The sessions of the console of people whom an identity provider named.
//! Owns: the table `console_people`.
//! Must not know: the cookie itself, only its digest is stored; or which group has which role.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::{error::StoreError, handle::Store};
use crate::model::{
    actor::Act,
    audit::{Event, EventName},
    console_person::ConsolePerson,
};

impl Store {
    /// Begins the session of this person.
    pub async fn begin_person_session(
        &self,
        person: &ConsolePerson,
        digest: [u8; 32],
        expires_at: DateTime<Utc>,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        let new = person.clone();
        tx.query(
            "INSERT INTO console_people (id, organization_id, workspace_id, issuer, subject, name, email, groups, digest,
                                         created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(new.session_id)
        .bind(new.organization_id)
        .bind(new.workspace_id)
        .bind(new.issuer)
        .bind(new.subject)
        .bind(new.name)
        .bind(new.email)
        .bind(Json(new.groups))
        .bind(digest.to_vec())
        .bind(now)
        .bind(expires_at)
        .execute()
        .await?;
        self.record(&mut tx, vec![about(EventName::ConsoleSignedIn, person, act, now)]).await?;
        tx.commit().await
    }

    /// The person whose session has that digest, unless it has expired. Whether they still have a role is for the caller to see.
    pub async fn person_session(
        &self,
        digest: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Option<ConsolePerson>, StoreError> {
        self.db
            .query(
                "SELECT id AS session_id, organization_id, workspace_id, issuer, subject, name, email, groups
                 FROM console_people WHERE digest = $1 AND expires_at > $2",
            )
            .bind(digest.to_vec())
            .bind(now)
            .read()
            .optional()
            .await
    }

    /// Deletes sessions of all tenants that have expired, so that nothing is kept of people who do not come back.
    pub async fn delete_expired_person_sessions(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.db.query("DELETE FROM console_people WHERE expires_at <= $1").bind(now).execute().await?;
        Ok(())
    }

    /// Ends a session. One that has ended already is no error.
    pub async fn end_person_session(
        &self,
        person: &ConsolePerson,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        let ended = tx
            .query("DELETE FROM console_people WHERE organization_id = $1 AND workspace_id = $2 AND id = $3")
            .within(&person.tenant())
            .bind(person.session_id)
            .execute()
            .await?;
        if ended > 0 {
            self.record(&mut tx, vec![about(EventName::ConsoleSignedOut, person, act, now)]).await?;
        }
        tx.commit().await
    }
}

fn about(name: EventName, person: &ConsolePerson, act: &Act, now: DateTime<Utc>) -> Event {
    let event =
        Event::new(name, act, &person.tenant(), now).with("issuer", &person.issuer).with("subject", &person.subject);
    let named = [("name", &person.name), ("email", &person.email)];
    named
        .into_iter()
        .filter_map(|(field, text)| Some((field, text.as_ref()?)))
        .fold(event, |event, (field, text)| event.with(field, text))
}
