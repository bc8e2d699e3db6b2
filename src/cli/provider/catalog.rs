//! `agent-auth provider catalog`: the built-in providers, and how to register an app at each.
//! Owns: the table, and the steps as they are printed.
//! Must not know: what an entry means for requests.

use anyhow::bail;
use serde_json::json;

use crate::{
    broker::{clients::redirect_uri::callback_address, open::public_url},
    catalog::{Catalog, Entry},
    config::Settings,
    terminal::{explain, print, print_json},
};

pub(super) fn show(
    catalog: &Catalog,
    name: Option<&str>,
    search: &str,
    json: bool,
    settings: &Settings,
) -> anyhow::Result<()> {
    let Some(name) = name else { return table(catalog, search, json) };
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

fn table(catalog: &Catalog, search: &str, as_json: bool) -> anyhow::Result<()> {
    let found: Vec<&Entry> = catalog.search(search).collect();
    if found.is_empty() {
        bail!(unknown(catalog, search));
    }
    if as_json {
        return found.into_iter().try_for_each(|entry| {
            print_json(
                &json!({
                    "name": entry.name,
                    "display_name": entry.display_name,
                    "category": entry.category,
                    "params": entry.params,
                    "confirmed": entry.confirmed,
                })
                .to_string(),
            )
        });
    }
    let row = |[name, provider, category, set]: [&str; 4]| {
        format!("{name:<22} {provider:<28} {category:<13} {set}").trim_end().to_owned()
    };
    explain(&row(["NAME", "PROVIDER", "CATEGORY", "TO SET"]))?;
    for entry in &found {
        let set: Vec<String> = entry.params.iter().map(|(name, meaning)| format!("{name} ({meaning})")).collect();
        let category = entry.category.as_deref().unwrap_or_default();
        print(&row([&entry.name, &entry.display_name, category, &set.join(", ")]))?;
    }
    explain(
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
