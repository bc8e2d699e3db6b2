//! Sealing: which columns hold secrets, and what each value is bound to.
//! Owns: the one list of sealed columns. Every other file here seals and opens through it.
//! Must not know: what the secrets are for.

use secrecy::SecretString;
use uuid::Uuid;

use crate::{
    cipher::{CipherError, KeyRing, SealContext},
    model::subject::Tenant,
};

/// A column that holds sealed values: its table and its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct SealedColumn(&'static str, &'static str);

pub(super) const ENCRYPTION_KEY_CHECK: SealedColumn = SealedColumn("encryption_keys", "check_value");
pub(super) const AUDIT_KEY: SealedColumn = SealedColumn("audit_heads", "audit_key");
pub(super) const PROVIDER_CLIENT_SECRET: SealedColumn = SealedColumn("providers", "client_secret");
pub(super) const TOKEN_ACCESS_TOKEN: SealedColumn = SealedColumn("tokens", "access_token");
pub(super) const TOKEN_REFRESH_TOKEN: SealedColumn = SealedColumn("tokens", "refresh_token");
pub(super) const REQUEST_CLIENT_SECRET: SealedColumn = SealedColumn("authorization_requests", "client_secret");
pub(super) const REQUEST_CODE_VERIFIER: SealedColumn = SealedColumn("authorization_requests", "code_verifier");
pub(super) const REQUEST_DEVICE_CODE: SealedColumn = SealedColumn("authorization_requests", "device_code");
pub(super) const REVOCATION_CLIENT_SECRET: SealedColumn = SealedColumn("revocations", "client_secret");
pub(super) const REVOCATION_ACCESS_TOKEN: SealedColumn = SealedColumn("revocations", "access_token");
pub(super) const REVOCATION_REFRESH_TOKEN: SealedColumn = SealedColumn("revocations", "refresh_token");

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

    fn context(&self, SealedColumn(table, column): SealedColumn) -> SealContext<'_> {
        SealContext {
            column: (table, column),
            organization: &self.tenant.organization,
            workspace: &self.tenant.workspace,
            row: self.row,
            generation: self.generation,
        }
    }
}

/// What the check value of an encryption key is bound to: it belongs to no tenant.
pub(super) fn key_check_context() -> SealContext<'static> {
    let SealedColumn(table, column) = ENCRYPTION_KEY_CHECK;
    SealContext { column: (table, column), organization: "", workspace: "", row: Uuid::nil(), generation: 0 }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const COLUMNS: [SealedColumn; 9] = [
        PROVIDER_CLIENT_SECRET,
        TOKEN_ACCESS_TOKEN,
        TOKEN_REFRESH_TOKEN,
        REQUEST_CLIENT_SECRET,
        REQUEST_CODE_VERIFIER,
        REQUEST_DEVICE_CODE,
        REVOCATION_CLIENT_SECRET,
        REVOCATION_ACCESS_TOKEN,
        REVOCATION_REFRESH_TOKEN,
    ];

    #[test]
    fn a_thousand_changed_and_swapped_values_are_a_thousand_refusals() {
        let keys = KeyRing::parse(&KeyRing::generate()).unwrap();
        let tenants =
            ["a", "b"].map(|name| Tenant { organization: format!("o-{name}"), workspace: format!("w-{name}") });
        let places: Vec<(RowSeal<'_>, SealedColumn)> = (0..36)
            .map(|n| {
                let row = RowSeal::new(&keys, &tenants[n % 2], Uuid::from_u128((n / 2 % 2) as u128), [1, 2][n / 4 % 2]);
                (row, COLUMNS[n % COLUMNS.len()])
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
}
