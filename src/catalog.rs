//! The catalogue: what is known of well-known providers, as data.
//! Owns: `config/catalog.toml`, the operator's own file beside it, and the filling in of placeholders.
//! Must not know: how a provider is kept, or spoken to.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use toml::{Table, Value};
use url::Url;

use crate::model::{
    client::ClientAuthentication,
    options::{ProviderOptions, TokenFormat},
};

/// The embedded catalogue, which also says what each field means.
pub const BUILT_IN: &str = include_str!("../config/catalog.toml");
/// How alike two names are (Jaro, 0 to 1) when one may be a slip of the other.
const ALIKE: f64 = 0.7;

/// What is known of one provider. The fields are explained in `config/catalog.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/catalog.toml explains each of them")]
pub struct Entry {
    /// What it is called in the catalogue: the name of its table.
    #[serde(skip)]
    pub name: String,
    pub display_name: String,
    pub auth_url: String,
    pub token_url: String,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    pub revocation_url: Option<String>,
    pub refresh_url: Option<String>,
    pub device_authorization_url: Option<String>,
    pub userinfo_url: Option<String>,
    #[serde(default = "post")]
    pub authentication: ClientAuthentication,
    #[serde(default)]
    pub pkce: bool,
    pub scope_separator: Option<String>,
    #[serde(default)]
    pub default_scopes: Vec<String>,
    #[serde(default)]
    pub always_scopes: Vec<String>,
    #[serde(default)]
    pub authorization_params: BTreeMap<String, String>,
    #[serde(default)]
    pub token_params: BTreeMap<String, String>,
    #[serde(default)]
    pub token_format: TokenFormat,
    pub renewal_grant: Option<String>,
    #[serde(default)]
    pub signed_callback: bool,
    pub provider_type: Option<String>,
    pub console: String,
    pub steps: Vec<String>,
}

fn post() -> ClientAuthentication {
    ClientAuthentication::ClientSecretPost
}

/// The entries, by name.
#[derive(Clone, Debug)]
pub struct Catalog(BTreeMap<String, Entry>);

/// Why a catalogue is refused: one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CatalogError(String);

/// Why the placeholders of an entry cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// No value was given.
    #[error("{0} is required: {1}")]
    Missing(String, String),
    /// The value would do more than fill its place in a URL.
    #[error("{0} should have letters, digits, `.`, `-`, `_` and `:` only")]
    Unfit(String),
    /// The entry has no such placeholder.
    #[error("this template has no such placeholder")]
    Unknown(String),
}

impl Catalog {
    /// The embedded catalogue, with the operator's `file` on top.
    ///
    /// # Errors
    /// [`CatalogError`] names the file, and the entry or the line.
    pub fn load(file: Option<&Path>) -> Result<Self, CatalogError> {
        let mut tables =
            parse(BUILT_IN).map_err(|problem| CatalogError(format!("the built-in catalogue: {problem}")))?;
        let Some(path) = file else { return Self::of_tables(tables).map_err(CatalogError) };
        let refused = |problem: String| CatalogError(format!("{}: {problem}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        for (name, entry) in parse(&text).map_err(refused)? {
            match (tables.get_mut(&name), entry) {
                (Some(Value::Table(known)), Value::Table(entry)) => known.extend(entry),
                (_, entry) => {
                    tables.insert(name, entry);
                }
            }
        }
        Self::of_tables(tables).map_err(refused)
    }

    fn of_tables(tables: Table) -> Result<Self, String> {
        let mut entries = BTreeMap::new();
        for (name, table) in tables {
            let told = |problem: &str| format!("[{name}]: {}", problem.lines().next().unwrap_or_default());
            let mut entry: Entry = table.try_into().map_err(|error: toml::de::Error| told(error.message()))?;
            entry.check().map_err(|problem| told(&problem))?;
            entry.name.clone_from(&name);
            entries.insert(name, entry);
        }
        Ok(Self(entries))
    }

    /// Every entry, by name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }

    /// The entry of that name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.0.get(name)
    }

    /// The names that may have been meant, the likeliest first.
    #[must_use]
    pub fn near(&self, name: &str) -> Vec<&str> {
        let name = name.to_lowercase();
        let mut near: Vec<(f64, &str)> = self
            .0
            .keys()
            .map(|known| {
                let part = name.len() >= 3 && (known.contains(&name) || name.contains(known.as_str()));
                (if part { 1.0 } else { strsim::jaro(known, &name) }, known.as_str())
            })
            .filter(|(alike, _)| *alike > ALIKE)
            .collect();
        near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        near.into_iter().map(|(_, known)| known).take(3).collect()
    }

    /// The entry whose token endpoint is at the same host, else the one of that `provider_type`. `true` with the
    /// former.
    #[must_use]
    pub fn recognise(&self, token_url: &str, provider_type: Option<&str>) -> Option<(&Entry, bool)> {
        let host = host(token_url);
        let at_host = self.entries().find(|entry| host.as_deref().is_some_and(|host| entry.is_at(host)));
        let of_type =
            || self.entries().find(|entry| provider_type.is_some() && entry.provider_type.as_deref() == provider_type);
        at_host.map(|entry| (entry, true)).or_else(|| of_type().map(|entry| (entry, false)))
    }
}

impl Entry {
    /// The entry with its placeholders filled in.
    pub fn filled(&self, values: &BTreeMap<String, String>) -> Result<Self, Vec<ParamError>> {
        let mut errors: Vec<ParamError> = Vec::new();
        for (name, meaning) in &self.params {
            match values.get(name).map(String::as_str) {
                None | Some("") => errors.push(ParamError::Missing(name.clone(), meaning.clone())),
                Some(value) if !fits(value) => errors.push(ParamError::Unfit(name.clone())),
                Some(_) => {}
            }
        }
        errors.extend(values.keys().filter(|name| !self.params.contains_key(*name)).cloned().map(ParamError::Unknown));
        if !errors.is_empty() {
            return Err(errors);
        }
        let fill = |text: &mut String| {
            for (name, value) in values {
                *text = text.replace(&format!("{{{name}}}"), value);
            }
        };
        let mut filled = self.clone();
        fill(&mut filled.auth_url);
        fill(&mut filled.token_url);
        fill(&mut filled.console);
        [
            &mut filled.revocation_url,
            &mut filled.refresh_url,
            &mut filled.device_authorization_url,
            &mut filled.userinfo_url,
        ]
        .into_iter()
        .flatten()
        .for_each(fill);
        Ok(filled)
    }

    /// What a provider of this entry needs beyond the published fields.
    #[must_use]
    pub fn options(&self) -> ProviderOptions {
        ProviderOptions {
            template: Some(self.name.clone()),
            refresh_url: self.refresh_url.clone(),
            device_authorization_url: self.device_authorization_url.clone(),
            scope_separator: self.scope_separator.clone(),
            default_scopes: self.default_scopes.clone(),
            always_scopes: self.always_scopes.clone(),
            token_params: self.token_params.clone(),
            token_format: self.token_format,
            renewal_grant: self.renewal_grant.clone(),
            signed_callback: self.signed_callback,
            ..ProviderOptions::default()
        }
    }

    /// The same for a provider that was recognised and not made from this entry: its habits, without a choice of
    /// scopes, and an address only if it is at the very host that the provider's own record names.
    #[must_use]
    pub fn habits(&self, same_host: bool) -> ProviderOptions {
        let mut habits = ProviderOptions { template: None, default_scopes: Vec::new(), ..self.options() };
        // An address with a placeholder is nobody's.
        let there = |url: &String| same_host && !url.contains('{') && host(url).is_some_and(|host| self.is_at(&host));
        habits.refresh_url = habits.refresh_url.filter(there);
        habits.device_authorization_url = habits.device_authorization_url.filter(there);
        habits
    }

    /// What has to be done at the provider, with our redirect URI.
    #[must_use]
    pub fn steps(&self, redirect_uri: &str) -> Vec<String> {
        self.steps.iter().map(|step| step.replace("{redirect_uri}", redirect_uri)).collect()
    }

    /// Whether the token endpoint is at that host: the very host, or one below it where the first part is a
    /// placeholder. Whoever is at a host that is a placeholder as a whole is not recognised.
    fn is_at(&self, other: &str) -> bool {
        let authority = self.token_url.split('/').nth(2).unwrap_or_default();
        match authority.split_once('}') {
            None => host(&self.token_url).as_deref() == Some(other),
            Some((_, below)) => below.starts_with('.') && other.ends_with(below),
        }
    }

    fn check(&self) -> Result<(), String> {
        let urls = [("auth_url", Some(&self.auth_url)), ("token_url", Some(&self.token_url))].into_iter().chain([
            ("revocation_url", self.revocation_url.as_ref()),
            ("refresh_url", self.refresh_url.as_ref()),
            ("device_authorization_url", self.device_authorization_url.as_ref()),
            ("userinfo_url", self.userinfo_url.as_ref()),
        ]);
        for (field, url) in urls {
            let Some(url) = url else { continue };
            let mut example = url.clone();
            for name in self.params.keys() {
                example = example.replace(&format!("{{{name}}}"), "x");
            }
            if example.contains(['{', '}']) {
                return Err(format!("{field} has a placeholder that `params` does not explain"));
            }
            if !Url::parse(&example).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host()) {
                return Err(format!("{field} is not a URL"));
            }
        }
        Ok(())
    }
}

fn parse(text: &str) -> Result<Table, String> {
    text.parse::<Table>().map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        format!("line {line}: {}", error.message().lines().next().unwrap_or_default())
    })
}

fn host(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(ToOwned::to_owned)
}

/// A part of a host name or of a path, and nothing that could lead a URL elsewhere.
fn fits(value: &str) -> bool {
    value.len() <= 253
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
        && !value.contains("..")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::oauth::revocation::known_revocation_url;

    fn built_in() -> Catalog {
        Catalog::load(None).unwrap()
    }

    fn with_file(text: &str) -> Result<Catalog, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Catalog::load(Some(file.path())).map_err(|error| error.to_string())
    }

    #[test]
    fn every_entry_is_complete_and_on_https() {
        for entry in built_in().entries() {
            for url in [&entry.auth_url, &entry.token_url, &entry.console] {
                assert!(url.starts_with("https://"), "{}: {url}", entry.name);
            }
            let steps = entry.steps("https://here.example/callback").join("\n");
            assert!(steps.contains("https://here.example/callback"), "{}: no step names the redirect URI", entry.name);
            assert!(!entry.display_name.is_empty());
        }
    }

    #[test]
    fn the_catalogue_and_what_is_known_by_heart_agree_on_revocation() {
        for entry in built_in().entries() {
            let known = known_revocation_url(&entry.token_url, "id").filter(|_| entry.revocation_url.is_some());
            assert!(known.is_none() || known == entry.revocation_url, "{}: {known:?}", entry.name);
        }
    }

    #[test]
    fn placeholders_are_filled_in_and_each_is_required() {
        let catalog = built_in();
        let microsoft = catalog.entry("microsoft").unwrap();
        let values = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let filled = microsoft.filled(&values("tenant", "acme.example")).unwrap();
        assert_eq!(filled.token_url, "https://login.microsoftonline.com/acme.example/oauth2/v2.0/token");
        assert!(matches!(microsoft.filled(&BTreeMap::new()).unwrap_err()[..], [ParamError::Missing(..)]));
        for unfit in ["a/b", "a@b", "a?b", "..", "a b", "a#b", "{x}"] {
            assert!(matches!(microsoft.filled(&values("tenant", unfit)).unwrap_err()[..], [ParamError::Unfit(_)]));
        }
        let github = catalog.entry("github").unwrap();
        assert!(matches!(github.filled(&values("tenant", "x")).unwrap_err()[..], [ParamError::Unknown(_)]));
    }

    #[test]
    fn near_names_are_found() {
        let catalog = built_in();
        for (slip, meant) in
            [("githbu", "github"), ("Google", "google"), ("sales-force", "salesforce"), ("gitlab-com", "gitlab")]
        {
            assert!(catalog.near(slip).contains(&meant), "{slip}: {:?}", catalog.near(slip));
        }
        assert!(catalog.near("zzzzzz").is_empty());
    }

    #[test]
    fn an_operators_file_adds_entries_and_replaces_single_fields() {
        let catalog = with_file(
            "[acme]\ndisplay_name = \"Acme\"\nauth_url = \"https://acme.example/a\"\ntoken_url = \"https://acme.example/t\"\n\
             console = \"https://acme.example\"\nsteps = []\n[github]\npkce = false\n",
        )
        .unwrap();
        assert_eq!(catalog.entry("acme").unwrap().display_name, "Acme");
        let github = catalog.entry("github").unwrap();
        assert_eq!((github.pkce, github.display_name.as_str()), (false, "GitHub"));
    }

    #[test]
    fn a_broken_file_is_refused_in_one_line_that_names_the_place() {
        for (text, named) in [
            ("[acme\n", "line 1"),
            ("[acme]\ndisplay_name = \"Acme\"\n", "[acme]: missing field"),
            ("[github]\npcke = true\n", "[github]: unknown field `pcke`"),
            ("[github]\ntoken_url = \"https://{host}/t\"\n", "[github]: token_url has a placeholder"),
            ("[github]\ntoken_url = \"nowhere\"\n", "[github]: token_url is not a URL"),
            ("github = 7\n", "[github]"),
        ] {
            let refused = with_file(text).unwrap_err();
            assert!(refused.contains(named) && refused.lines().count() == 1, "{text:?}: {refused}");
        }
        assert!(Catalog::load(Some(Path::new("/nowhere/at-all.toml"))).unwrap_err().to_string().contains("/nowhere"));
    }

    #[test]
    fn a_provider_is_recognised_by_its_token_endpoint_and_then_by_its_type() {
        let catalog = built_in();
        let name = |url: &str, kind| catalog.recognise(url, kind).map(|(entry, at_host)| (entry.name.clone(), at_host));
        assert_eq!(name("https://api.figma.com/v1/oauth/token", None), Some(("figma".into(), true)));
        assert_eq!(name("https://proxy.example/token", Some("x")), Some(("x".into(), false)));
        assert_eq!(name("https://acme.zendesk.com/oauth/tokens", None), Some(("zendesk".into(), true)));
        for elsewhere in ["https://api.figma.com.evil.example/t", "https://evilzendesk.com/t", "https://acme.example/t"]
        {
            assert_eq!(name(elsewhere, None), None);
        }
        let (figma, _) = catalog.recognise("https://api.figma.com/v1/oauth/token", None).unwrap();
        assert!(figma.habits(true).refresh_url.is_some() && figma.habits(false).refresh_url.is_none());
    }
}
