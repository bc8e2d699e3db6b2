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

pub(super) fn show(catalog: &Catalog, name: Option<&str>, settings: &Settings) -> anyhow::Result<()> {
    let Some(name) = name else { return table(catalog) };
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
    Ok(())
}

/// Where the app is created, and what to do there, one line each.
pub(super) fn steps(entry: &Entry, redirect_uri: &str) -> anyhow::Result<()> {
    print(&format!("  1. Open {}", entry.console))?;
    for (number, step) in (2..).zip(entry.steps(redirect_uri)) {
        print(&format!("  {number}. {step}"))?;
    }
    Ok(())
}

fn table(catalog: &Catalog) -> anyhow::Result<()> {
    let row = |name: &str, provider: &str, set: &str| print(format!("{name:<20} {provider:<22} {set}").trim_end());
    row("NAME", "PROVIDER", "TO SET")?;
    for entry in catalog.entries() {
        let set: Vec<String> = entry.params.iter().map(|(name, meaning)| format!("{name} ({meaning})")).collect();
        row(&entry.name, &entry.display_name, &set.join(", "))?;
    }
    print("\n`agent-auth provider catalog NAME` shows where to create an OAuth app, and what to enter there.")
}

/// The message for a name that the catalogue does not have.
pub(super) fn unknown(catalog: &Catalog, name: &str) -> String {
    match &catalog.near(name)[..] {
        [] => format!("no provider `{name}` in the catalogue; `agent-auth provider catalog` lists them"),
        near => format!("no provider `{name}` in the catalogue. Did you mean {}?", near.join(" or ")),
    }
}
