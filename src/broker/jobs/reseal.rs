//! Resealing: every stored secret is sealed with the first key, while servers run.
//! Owns: how often the database is gone through, and when that is enough.
//! Must not know: which columns are sealed, or who asked for it.
//!
//! A value carries the id of the key that sealed it. So there is no state of its own: a reseal that was killed is
//! continued by the next one, which finds the values that are left.

use crate::store::{
    encryption_keys::{Cursor, Resealed},
    error::StoreError,
    handle::Store,
};

/// A second pass finds what was written with another key during the first one. More are needed only if a server still
/// seals with another key, and then none is enough.
const PASSES: usize = 3;

/// Seals every value with the first key, and reports after each batch how far it is.
pub async fn run(store: &Store, mut progress: impl FnMut(&Resealed)) -> Result<Resealed, StoreError> {
    let mut done = Resealed::default();
    for _ in 0..PASSES {
        let mut pass = Resealed { resealed: done.resealed, ..Resealed::default() };
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            cursor = store.reseal_some(from, &mut pass).await?;
            progress(&pass);
        }
        let found_any = pass.resealed > done.resealed || pass.changed > 0;
        done = pass;
        if !found_any {
            break;
        }
    }
    Ok(done)
}
