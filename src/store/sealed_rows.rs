//! The sealed columns as rows of bytes: which key sealed what, and the same value sealed with another key.
//! Owns: the statements that walk through every sealed column, of all tenants. They stop at ids, so that each is short.
//! Must not know: what the columns mean.

use std::{collections::BTreeMap, sync::LazyLock};

use uuid::Uuid;

use super::{
    db::Db,
    error::{NotOpened, StoreError},
    seal::{RowSeal, SEALED_COLUMNS, SealedColumn},
};
use crate::{
    cipher::{ENVELOPE_HEAD_MAX, KeyRing, sealing_key},
    model::subject::Tenant,
};

/// How many rows one statement looks at.
const PAGE: i64 = 1000;

/// One sealed column, and the statements for it.
pub(super) struct Walk {
    column: SealedColumn,
    heads: String,
    strays: String,
    replace: String,
}

static WALKS: LazyLock<Vec<Walk>> = LazyLock::new(|| SEALED_COLUMNS.iter().copied().map(Walk::new).collect());

/// Every sealed column.
pub(super) fn walks() -> &'static [Walk] {
    &WALKS
}

/// A value that another key sealed than the one that seals now, or nothing if the row has none.
#[derive(sqlx::FromRow)]
struct Looked {
    id: Uuid,
    organization_id: String,
    workspace_id: String,
    generation: i64,
    sealed: Option<Vec<u8>>,
}

/// A value that another key sealed than the one that seals now.
pub(super) struct Stray {
    id: Uuid,
    tenant: Tenant,
    generation: i64,
    sealed: Vec<u8>,
}

/// Some rows of a column.
pub(super) struct Page {
    /// The id of the last one; `None` at the end of the table.
    pub(super) last: Option<Uuid>,
    /// How many there are.
    pub(super) rows: u64,
    /// Those that another key sealed.
    pub(super) strays: Vec<Stray>,
}

/// What became of a stray.
pub(super) enum Replaced {
    /// It is sealed with the first key now.
    Resealed,
    /// The row was written or deleted meanwhile, and is as its writer left it.
    Changed,
    /// It cannot be opened, and is as it was.
    Unreadable(NotOpened),
}

impl Walk {
    fn new(column: SealedColumn) -> Self {
        let SealedColumn { table, column: name, generation } = column;
        Self {
            column,
            heads: format!(
                "SELECT id, substr({name}, 1, {ENVELOPE_HEAD_MAX}) FROM {table} WHERE id > $1 ORDER BY id LIMIT {PAGE}"
            ),
            strays: format!(
                "SELECT id, organization_id, workspace_id, {generation} AS generation,
                        CASE WHEN substr({name}, 1, length($2)) = $2 THEN NULL ELSE {name} END AS sealed
                 FROM {table} WHERE id > $1 ORDER BY id LIMIT {PAGE}"
            ),
            replace: format!(
                "UPDATE {table} SET {name} = $6
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND {generation} = $4 AND {name} = $5"
            ),
        }
    }

    /// The rows after this id.
    pub(super) async fn page(&'static self, db: &Db, keys: &KeyRing, after: Uuid) -> Result<Page, StoreError> {
        let looked: Vec<Looked> = db.query(&self.strays).bind(after).bind(keys.sealing_head()?).read().all().await?;
        let (last, rows) = (looked.last().map(|row| row.id), looked.len() as u64);
        let strays = looked.into_iter().filter_map(|row| {
            let tenant = Tenant { organization: row.organization_id, workspace: row.workspace_id };
            Some(Stray { id: row.id, tenant, generation: row.generation, sealed: row.sealed? })
        });
        Ok(Page { last, rows, strays: strays.collect() })
    }

    /// Seals a value with the first key, unless the row was written meanwhile. One statement, and no transaction: a lock
    /// on several rows could stop a caller, or meet one that locks them in another order.
    pub(super) async fn reseal(&'static self, db: &Db, keys: &KeyRing, stray: Stray) -> Result<Replaced, StoreError> {
        let Stray { id, tenant, generation, sealed } = stray;
        let seal = RowSeal::new(keys, &tenant, id, generation);
        let opened = match seal.open(self.column, &sealed) {
            Ok(opened) => opened,
            Err(error) => return Ok(Replaced::Unreadable(error)),
        };
        let replaced = db
            .query(&self.replace)
            .within(&tenant)
            .bind(id)
            .bind(generation)
            .bind(sealed)
            .bind(seal.seal(self.column, &opened)?)
            .execute()
            .await?;
        Ok(if replaced > 0 { Replaced::Resealed } else { Replaced::Changed })
    }
}

/// How many values each key has sealed, of those that are stored now. What is not an envelope counts for an empty id.
pub(super) async fn count_by_key(db: &Db) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut counts = BTreeMap::new();
    for walk in walks() {
        let mut after = Some(Uuid::nil());
        while let Some(id) = after {
            let heads: Vec<(Uuid, Option<Vec<u8>>)> = db.query(&walk.heads).bind(id).read().all().await?;
            for head in heads.iter().filter_map(|(_, head)| head.as_ref()) {
                *counts.entry(sealing_key(head).unwrap_or_default().to_owned()).or_default() += 1;
            }
            after = heads.last().map(|(id, _)| *id);
        }
    }
    Ok(counts)
}
