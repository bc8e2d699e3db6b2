//! Sealing: which columns hold secrets, and what each value is bound to.
//! Owns: the one list of sealed columns. Every other file here seals and opens through it.
//! Must not know: what the secrets are for.

use secrecy::SecretString;
use uuid::Uuid;

use super::error::NotOpened;
use crate::{
    cipher::{CipherError, KeyRing, SealContext},
    model::subject::Tenant,
};

/// A column that holds sealed values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SealedColumn {
    pub(super) table: &'static str,
    pub(super) column: &'static str,
    /// The generation of its rows, in SQL.
    pub(super) generation: &'static str,
}

/// A table whose rows count the writes of their secrets, and one whose secrets are never replaced by other ones.
const COUNTED: &str = "generation";
const NOT_COUNTED: &str = "CAST(0 AS BIGINT)";

/// Names the sealed columns, and lists them: a column that can be sealed is in the list.
macro_rules! sealed_columns {
    ($($name:ident = $table:literal, $column:literal, $generation:ident;)+) => {
        $(pub(super) const $name: SealedColumn =
            SealedColumn { table: $table, column: $column, generation: $generation };)+

        /// Every sealed column of the tenants' rows. What is resealed and counted is in this list.
        pub(super) const SEALED_COLUMNS: &[SealedColumn] = &[$($name),+];
    };
}

sealed_columns! {
    PROVIDER_CLIENT_SECRET = "providers", "client_secret", COUNTED;
    TOKEN_ACCESS_TOKEN = "tokens", "access_token", COUNTED;
    TOKEN_REFRESH_TOKEN = "tokens", "refresh_token", COUNTED;
    REQUEST_CLIENT_SECRET = "authorization_requests", "client_secret", NOT_COUNTED;
    REQUEST_CODE_VERIFIER = "authorization_requests", "code_verifier", NOT_COUNTED;
    REQUEST_DEVICE_CODE = "authorization_requests", "device_code", NOT_COUNTED;
    REQUEST_AUTHORIZATION_URL = "authorization_requests", "authorization_url", NOT_COUNTED;
    REQUEST_USER_CODE = "authorization_requests", "user_code", NOT_COUNTED;
    REQUEST_CODE = "authorization_requests", "code", NOT_COUNTED;
    REVOCATION_CLIENT_SECRET = "revocations", "client_secret", NOT_COUNTED;
    REVOCATION_ACCESS_TOKEN = "revocations", "access_token", NOT_COUNTED;
    AUDIT_KEY = "audit_heads", "audit_key", NOT_COUNTED;
    REVOCATION_REFRESH_TOKEN = "revocations", "refresh_token", NOT_COUNTED;
    WEBHOOK_SECRET = "webhooks", "secret", NOT_COUNTED;
}

/// A link that carries what it is for: it is in no table, and its tenant is inside.
pub(super) const LINK: SealedColumn = SealedColumn { table: "", column: "link", generation: NOT_COUNTED };

/// Seals and opens the columns of one row.
pub(super) struct RowSeal<'a> {
    keys: &'a KeyRing,
    tenant: &'a Tenant,
    row: Uuid,
    generation: i64,
}

impl<'a> RowSeal<'a> {
    pub(super) fn new(keys: &'a KeyRing, tenant: &'a Tenant, row: Uuid, generation: i64) -> Self {
        Self { keys, tenant, row, generation }
    }

    pub(super) fn seal(&self, column: SealedColumn, value: &SecretString) -> Result<Vec<u8>, CipherError> {
        self.keys.seal(&self.context(column), value)
    }

    pub(super) fn seal_optional(
        &self,
        column: SealedColumn,
        value: Option<&SecretString>,
    ) -> Result<Option<Vec<u8>>, CipherError> {
        value.map(|value| self.seal(column, value)).transpose()
    }

    pub(super) fn open(&self, column: SealedColumn, sealed: &[u8]) -> Result<SecretString, NotOpened> {
        let SealedColumn { table, column: name, .. } = column;
        let opened = self.keys.open(&self.context(column), sealed);
        opened.map_err(|error| NotOpened { table, column: name, row: self.row, error })
    }

    pub(super) fn open_optional(
        &self,
        column: SealedColumn,
        sealed: Option<&Vec<u8>>,
    ) -> Result<Option<SecretString>, NotOpened> {
        sealed.map(|sealed| self.open(column, sealed)).transpose()
    }

    fn context(&self, SealedColumn { table, column, .. }: SealedColumn) -> SealContext<'_> {
        SealContext {
            column: (table, column),
            organization: &self.tenant.organization,
            workspace: &self.tenant.workspace,
            row: self.row,
            generation: self.generation,
        }
    }
}

/// What the check value of an encryption key is bound to. It belongs to no tenant and is never resealed: each key has its
/// own.
pub(super) fn key_check_context() -> SealContext<'static> {
    SealContext {
        column: ("encryption_keys", "check_value"),
        organization: "",
        workspace: "",
        row: Uuid::nil(),
        generation: 0,
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::{
        cipher::{Algorithm, key_list::ListedKey},
        store::db::{Db, Location},
    };

    /// In each column, and in links, with each algorithm: the values of places that differ in one respect, and the value
    /// with each byte changed, with each cut, and with changes at random.
    #[test]
    fn thousands_of_changed_and_swapped_values_are_as_many_refusals() {
        for algorithm in [Algorithm::XChaCha20Poly1305, Algorithm::Aes256Gcm] {
            let keys = KeyRing::parse(&ListedKey::generate(algorithm).to_text()).unwrap();
            let refusals: usize = columns().map(|column| refusals(&keys, column)).sum();
            assert!(refusals >= 1000, "{refusals} with {algorithm:?}");
        }
    }

    fn columns() -> impl Iterator<Item = SealedColumn> {
        SEALED_COLUMNS.iter().copied().chain([LINK])
    }

    fn refusals(keys: &KeyRing, column: SealedColumn) -> usize {
        let tenants = [("a", "w"), ("b", "w"), ("a", "x"), ("aw", "")];
        let [tenant, elsewhere @ ..] = tenants
            .map(|(organization, workspace)| Tenant { organization: organization.into(), workspace: workspace.into() });
        let (row, another, secret) = (Uuid::from_u128(1), Uuid::from_u128(2), SecretString::from("a secret"));
        let place = RowSeal::new(keys, &tenant, row, 1);
        let value = place.seal(column, &secret).unwrap();
        assert_eq!(place.open(column, &value).unwrap().expose_secret(), "a secret");

        let mut wrong: Vec<Vec<u8>> = Vec::new();
        for other in [RowSeal::new(keys, &tenant, another, 1), RowSeal::new(keys, &tenant, row, 2)]
            .into_iter()
            .chain(elsewhere.iter().map(|tenant| RowSeal::new(keys, tenant, row, 1)))
        {
            wrong.push(other.seal(column, &secret).unwrap());
        }
        wrong.extend(columns().filter(|other| *other != column).map(|other| place.seal(other, &secret).unwrap()));
        for at in 0..value.len() {
            wrong.push(value[..at].to_vec());
            let mut changed = value.clone();
            changed[at] ^= rand::random_range(1..=255_u8);
            wrong.push(changed);
        }
        for _ in 0..20 {
            let mut changed = value.clone();
            changed.insert(rand::random_range(0..=value.len()), rand::random());
            wrong.push(changed);
            wrong.push(std::iter::repeat_with(rand::random).take(value.len()).collect());
        }
        for sealed in &wrong {
            assert!(place.open(column, sealed).is_err(), "{column:?}: {}", hex::encode(sealed));
        }
        wrong.len()
    }

    /// The columns of bytes that hold no sealed value of a tenant.
    const NOT_SEALED: [(&str, &str); 16] = [
        ("_sqlx_migrations", "checksum"),
        ("api_keys", "digest"),
        ("audit_events", "hash"),
        ("audit_heads", "hash"),
        ("audit_heads", "mac"),
        ("audit_heads", "pruned_hash"),
        ("authorization_requests", "browser_hash"),
        ("authorization_requests", "code_hash"),
        ("authorization_requests", "confirmation_hash"),
        ("authorization_requests", "reference_hash"),
        ("authorization_requests", "state_hash"),
        ("connect_links", "secret_hash"),
        ("connect_links", "session_hash"),
        ("console_people", "digest"),
        ("console_sessions", "digest"),
        ("encryption_keys", "check_value"),
    ];

    #[tokio::test]
    async fn every_column_of_bytes_is_resealed_or_known_not_to_be_sealed() {
        let folder = tempfile::TempDir::new().unwrap();
        let db = Db::open(&Location::Sqlite(folder.path().join("schema.db"))).await.unwrap();
        let columns: Vec<(String, String)> = db
            .query(
                "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
                 WHERE m.type = 'table' AND upper(c.type) IN ('BYTEA', 'BLOB') ORDER BY 1, 2",
            )
            .all()
            .await
            .unwrap();
        let listed = SEALED_COLUMNS.iter().map(|sealed| (sealed.table, sealed.column));
        let mut known: Vec<(&str, &str)> = listed.chain(NOT_SEALED).collect();
        known.sort_unstable();
        let columns: Vec<(&str, &str)> = columns.iter().map(|(table, column)| (&**table, &**column)).collect();
        assert_eq!(
            columns, known,
            "A new column of bytes belongs in `sealed_columns!`, so that it is resealed, or in NOT_SEALED."
        );
    }
}
