//! `agent-auth provider catalog`: the built-in providers, and how to register an app at each.
//! Owns: the table, and the steps as they are printed.
//! Must not know: what an entry means for requests.

use anyhow::bail;

use crate::{
    broker::{clients::redirect_uri::callback_address, open::public_url},
    catalog::{Catalog, Entry},
    config::Settings,
    terminal::print,
};

pub(super) fn show(catalog: &Catalog, name: Option<&str>, search: &str, settings: &Settings) -> anyhow::Result<()> {
    let Some(name) = name else { return table(catalog, search) };
    let Some(entry) = catalog.entry(name) else { bail!(unknown(catalog, name)) };
    print(&format!("{}\n\nTo register an OAuth app there:\n", entry.display_name))?;
    steps(entry, &callback_address(&public_url(settings)?, name, ""))?;
    let mut command = format!("agent-auth provider add {name} --client-id ID --client-secret-file FILE");
    for param in entry.params.keys() {
        command.extend([" --set ", param, "=VALUE"]);
    }
    print(&format!("\nThen:\n\n  {command}"))?;
    for (name, meaning) in &entry.params {
        print(&format!("\n{name}: {meaning}"))?;
    }
    if !entry.confirmed {
        print(&format!("\n{UNCONFIRMED}"))?;
    }
    if !entry.references.is_empty() {
        print(&format!("\nWhere the endpoints were read:\n\n  {}", entry.references.join("\n  ")))?;
    }
    Ok(())
}

/// What to know before an entry is used that nobody has confirmed.
pub(super) const UNCONFIRMED: &str = "These endpoints were found in one place only. Compare them with the provider's \
                                      documentation, and run `agent-auth provider check` after adding it.";

/// Where the app is created, and what to do there, one line each.
pub(super) fn steps(entry: &Entry, redirect_uri: &str) -> anyhow::Result<()> {
    match &entry.console {
        Some(console) => print(&format!("  1. Open {console}"))?,
        None => print("  1. Open the provider's page for developers")?,
    }
    for (number, step) in (2..).zip(entry.steps(redirect_uri)) {
        print(&format!("  {number}. {step}"))?;
    }
    Ok(())
}

fn table(catalog: &Catalog, search: &str) -> anyhow::Result<()> {
    let found: Vec<&Entry> = catalog.search(search).collect();
    if found.is_empty() {
        bail!(unknown(catalog, search));
    }
    let row = |[name, provider, category, set]: [&str; 4]| {
        print(format!("{name:<22} {provider:<28} {category:<13} {set}").trim_end())
    };
    row(["NAME", "PROVIDER", "CATEGORY", "TO SET"])?;
    for entry in &found {
        let set: Vec<String> = entry.params.iter().map(|(name, meaning)| format!("{name} ({meaning})")).collect();
        let category = entry.category.as_deref().unwrap_or_default();
        row([&entry.name, &entry.display_name, category, &set.join(", ")])?;
    }
    print(
        "\n`agent-auth provider catalog NAME` shows where to create an OAuth app, and what to enter there. \
         `--search WORDS` lists those with these words in their names or their category.",
    )
}

/// The message for a name that the catalogue does not have.
pub(super) fn unknown(catalog: &Catalog, name: &str) -> String {
    match &catalog.near(name)[..] {
        [] => format!("no provider `{name}` in the catalogue; `agent-auth provider catalog` lists them"),
        near => format!("no provider `{name}` in the catalogue. Did you mean {}?", near.join(" or ")),
    }
}
