//! Sealing: which columns hold secrets, and what each value is bound to.
//! Owns: the one list of sealed columns. Every other file here seals and opens through it.
//! Must not know: what the secrets are for.

use secrecy::SecretString;
use uuid::Uuid;

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

    pub(super) fn open(&self, column: SealedColumn, sealed: &[u8]) -> Result<SecretString, CipherError> {
        self.keys.open(&self.context(column), sealed)
    }

    pub(super) fn open_optional(
        &self,
        column: SealedColumn,
        sealed: Option<&Vec<u8>>,
    ) -> Result<Option<SecretString>, CipherError> {
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
    use crate::store::db::{Db, Location};

    #[test]
    fn a_thousand_changed_and_swapped_values_are_a_thousand_refusals() {
        let keys = KeyRing::parse(&KeyRing::generate()).unwrap();
        let tenants =
            ["a", "b"].map(|name| Tenant { organization: format!("o-{name}"), workspace: format!("w-{name}") });
        let places: Vec<(RowSeal<'_>, SealedColumn)> = (0..24)
            .map(|n| {
                let row = RowSeal::new(&keys, &tenants[n % 2], Uuid::from_u128((n / 2 % 2) as u128), [1, 2][n / 4 % 2]);
                (row, SEALED_COLUMNS[n % SEALED_COLUMNS.len()])
            })
            .collect();
        let values: Vec<Vec<u8>> =
            places.iter().map(|(row, column)| row.seal(*column, &SecretString::from("a secret")).unwrap()).collect();
        let mut refusals = 0;
        for (at, (row, column)) in places.iter().enumerate() {
            assert_eq!(row.open(*column, &values[at]).unwrap().expose_secret(), "a secret");
            // The value of every other place: another column, row, generation, workspace or organization.
            for (_, swapped) in values.iter().enumerate().filter(|(other, _)| *other != at) {
                assert!(row.open(*column, swapped).is_err());
                refusals += 1;
            }
        }
        for _ in 0..1000 {
            let at = rand::random_range(0..places.len());
            let (mut changed, (row, column)) = (values[at].clone(), &places[at]);
            match rand::random_range(0..4) {
                0 => changed[rand::random_range(0..values[at].len())] ^= rand::random_range(1..=255_u8),
                1 => changed.truncate(rand::random_range(0..values[at].len())),
                2 => changed.insert(rand::random_range(0..values[at].len()), rand::random()),
                _ => rand::fill(&mut changed[..]),
            }
            if changed != values[at] {
                assert!(row.open(*column, &changed).is_err());
                refusals += 1;
            }
        }
        assert!(refusals >= 1000, "{refusals}");
    }

    /// The columns of bytes that hold no sealed value of a tenant.
    const NOT_SEALED: [(&str, &str); 12] = [
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
