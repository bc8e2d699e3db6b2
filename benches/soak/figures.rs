//! What a run measured and whether it was as promised.
//! Owns: the table.
//! Must not know: what was measured.

/// The figures of one run.
pub struct Figures {
    title: String,
    rows: Vec<(String, String, Option<bool>)>,
    violations: Vec<String>,
}

impl Figures {
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), rows: Vec::new(), violations: Vec::new() }
    }

    /// A figure to read.
    pub fn note(&mut self, what: &str, figure: &impl ToString) {
        self.rows.push((what.to_owned(), figure.to_string(), None));
    }

    /// A figure that was promised.
    pub fn promise<T: ToString + PartialEq>(&mut self, what: &str, figure: &T, promised: &T) {
        let kept = figure == promised;
        let shown = if kept {
            figure.to_string()
        } else {
            format!("{} instead of {}", figure.to_string(), promised.to_string())
        };
        self.rows.push((what.to_owned(), shown, Some(kept)));
    }

    /// What went wrong, one by one.
    pub fn violations(&mut self, violations: Vec<String>) {
        self.promise("violated promises", &violations.len(), &0);
        self.violations.extend(violations);
    }

    pub fn are_as_promised(&self) -> bool {
        self.rows.iter().all(|(_, _, kept)| *kept != Some(false))
    }

    pub fn print(&self) {
        println!("\n{}", self.title);
        for (what, figure, kept) in &self.rows {
            let mark = match kept {
                Some(true) => "as promised",
                Some(false) => "VIOLATED",
                None => "",
            };
            println!("  {what:<66} | {figure:>16} | {mark}");
        }
        for violation in self.violations.iter().take(20) {
            println!("  - {violation}");
        }
    }
}
