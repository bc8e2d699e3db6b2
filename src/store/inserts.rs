//! Inserting many rows with few statements, as both databases take them.
//! Owns: how many rows a statement has. Each number is a statement of its own, which the database prepares once.
//! Must not know: which table, and what its values are.

use super::{
    db::{Query, Tx},
    error::StoreError,
};

/// The statements that insert rows into one table, those of most rows first.
pub(super) struct Inserts(Vec<(usize, String)>);

impl Inserts {
    /// Statements of these numbers of rows, the largest first and the last of them 1.
    pub(super) fn new(table: &str, columns: &[&str], numbers: &[usize]) -> Self {
        Self::with_values(table, columns, numbers, |column, places| place_of(column, columns, places))
    }

    /// The same with values of one's own. `value` is given a column, and the number of the row's first parameter.
    pub(super) fn with_values(
        table: &str,
        columns: &[&str],
        numbers: &[usize],
        value: impl Fn(&str, usize) -> String,
    ) -> Self {
        let row = |row: usize| {
            let first = row * columns.len() + 1;
            let values: Vec<String> = columns.iter().map(|column| value(column, first)).collect();
            format!("({})", values.join(", "))
        };
        let statement = |rows: usize| {
            let rows: Vec<String> = (0..rows).map(row).collect();
            format!("INSERT INTO {table} ({}) VALUES {}", columns.join(", "), rows.join(", "))
        };
        Self(numbers.iter().map(|&rows| (rows, statement(rows))).collect())
    }

    /// Inserts the rows, and returns how many were added. `bind` binds a row's values, in the order of the columns.
    pub(super) async fn insert<R>(
        &'static self,
        tx: &mut Tx,
        mut rest: &[R],
        bind: impl for<'q> Fn(Query<'q>, &R) -> Query<'q>,
    ) -> Result<u64, StoreError> {
        let mut added = 0;
        for (many, statement) in &self.0 {
            while let Some((some, others)) = rest.split_at_checked(*many) {
                added += some.iter().fold(tx.query(statement), &bind).execute().await?;
                rest = others;
            }
        }
        Ok(added)
    }
}

/// The parameter of a column, in a row whose first parameter has this number.
pub(super) fn place_of(column: &str, columns: &[&str], first: usize) -> String {
    let index = columns.iter().position(|name| *name == column).unwrap_or_default();
    format!("${}", first + index)
}
