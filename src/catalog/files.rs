//! The files of the catalogue: one a provider, built in, and the operator's own over them.
//! Owns: reading and merging them, and that a fault is one line that names the file and the field.
//! Must not know: what a field means.

use std::{collections::BTreeMap, fs, path::Path};

use toml::{Table, Value};

use super::{
    check::check,
    entry::{CLIENT_ID, Entry, Unrecognised},
    near::near,
};

/// Every file of `config/providers/`, by the provider's name.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/providers.rs"));

/// What every entry has.
const REQUIRED: [&str; 3] = ["display_name", "auth_url", "token_url"];

const UNRECOGNISED: &str = include_str!("../../config/unrecognised.toml");

/// Why a catalogue is refused: one line.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct CatalogError {
    place: String,
    problem: String,
}

/// An entry as it was written.
struct Source {
    /// What a fault is reported with.
    place: String,
    fields: Table,
}

/// The built-in entries, with the operator's over them: each field takes the place of the built-in one.
pub(super) fn load(operators: Option<&Path>) -> Result<BTreeMap<String, Entry>, CatalogError> {
    let mut own: BTreeMap<String, Source> = match operators {
        None => Vec::new(),
        Some(path) if path.is_dir() => of_folder(path)?,
        Some(path) => of_file(path)?,
    }
    .into_iter()
    .collect();
    let mut entries = BTreeMap::new();
    for (name, text) in BUILT_IN {
        let place = format!("the built-in {name}.toml");
        let entry = match own.remove(*name) {
            // Most entries are nobody's but ours: they are read without a detour, as every start reads all of them.
            None => checked(name, place, toml::from_str(text))?,
            Some(source) => {
                let mut fields = parse(text, &place)?;
                if source.fields.contains_key("token_url") {
                    drop_addresses(&mut fields);
                }
                fields.extend(source.fields);
                checked(name, source.place, fields.try_into())?
            }
        };
        entries.insert((*name).to_owned(), entry);
    }
    for (name, Source { place, fields }) in own {
        let entry = new_entry(&name, place, fields)?;
        entries.insert(name, entry);
    }
    Ok(entries)
}

/// What responses of services without an entry may contain.
pub(super) fn unrecognised() -> Result<Unrecognised, CatalogError> {
    let place = "the built-in unrecognised.toml".to_owned();
    let fields = parse(UNRECOGNISED, &place)?;
    fields.try_into().map_err(|error: toml::de::Error| CatalogError { problem: in_one_line(&error), place })
}

/// The message, and in which field.
fn in_one_line(error: &toml::de::Error) -> String {
    error.to_string().lines().collect::<Vec<_>>().join(" ")
}

/// Forgets the addresses to which tokens are sent without a provider's record naming them. They go with the built-in token
/// endpoint: what another one issues must not be sent there.
fn drop_addresses(known: &mut Table) {
    known.remove("token_hosts");
    known.remove("userinfo");
    known
        .retain(|field, value| field != "revocation_url" || !value.as_str().is_some_and(|url| url.contains(CLIENT_ID)));
}

/// An entry that is not built in. One that lacks what every entry has was probably meant to change a built-in one.
fn new_entry(name: &str, place: String, fields: Table) -> Result<Entry, CatalogError> {
    let Some(field) = REQUIRED.into_iter().find(|field| !fields.contains_key(*field)) else {
        return checked(name, place, fields.try_into());
    };
    let hint = match near(BUILT_IN.iter().map(|(built_in, _)| *built_in), &name.to_lowercase())[..] {
        [] => String::new(),
        ref near => format!("; there is no built-in entry of this name. Did you mean {}?", near.join(" or ")),
    };
    Err(CatalogError { place, problem: format!("missing field `{field}`{hint}") })
}

fn checked(name: &str, place: String, read: Result<Entry, toml::de::Error>) -> Result<Entry, CatalogError> {
    let read = read.map_err(|error| in_one_line(&error));
    let checked = read.and_then(|entry| check(&entry).map(|()| Entry { name: name.to_owned(), ..entry }));
    checked.map_err(|problem| CatalogError { place, problem })
}

/// One table an entry.
fn of_file(path: &Path) -> Result<Vec<(String, Source)>, CatalogError> {
    let file = path.display().to_string();
    let tables = parse(&read(path)?, &file)?.into_iter().map(|(name, table)| {
        let place = format!("{file}: [{name}]");
        match table {
            Value::Table(fields) => Ok((name, Source { place, fields })),
            _ => Err(CatalogError { place, problem: "should be a table".into() }),
        }
    });
    tables.collect()
}

/// One file an entry, named after it. What is not called `NAME.toml` is left alone.
fn of_folder(folder: &Path) -> Result<Vec<(String, Source)>, CatalogError> {
    let unreadable =
        |error: std::io::Error| CatalogError { place: folder.display().to_string(), problem: error.to_string() };
    let mut sources = Vec::new();
    for file in fs::read_dir(folder).map_err(unreadable)? {
        let path = file.map_err(unreadable)?.path();
        let is_toml = path.extension().is_some_and(|extension| extension == "toml");
        let name = path.file_stem().and_then(|name| name.to_str()).filter(|name| is_toml && !name.starts_with('.'));
        if let Some(name) = name {
            let place = path.display().to_string();
            sources.push((name.to_owned(), Source { fields: parse(&read(&path)?, &place)?, place }));
        }
    }
    Ok(sources)
}

fn read(path: &Path) -> Result<String, CatalogError> {
    fs::read_to_string(path)
        .map_err(|error| CatalogError { place: path.display().to_string(), problem: error.to_string() })
}

fn parse(text: &str, place: &str) -> Result<Table, CatalogError> {
    text.parse::<Table>().map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        let problem = format!("line {line}: {}", error.message().lines().next().unwrap_or_default());
        CatalogError { place: place.to_owned(), problem }
    })
}
