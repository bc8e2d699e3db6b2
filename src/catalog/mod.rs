//! The catalogue: what is known of well-known providers, as data.
//! Owns: the entries, and which of them a name or an address stands for.
//! Must not know: how a provider is stored, or spoken to.

mod entry;
mod files;

use std::{collections::BTreeMap, path::Path};

use self::entry::host;
pub use self::{
    entry::{Entry, ParamError},
    files::CatalogError,
};

/// How alike two names are (Jaro, 0 to 1) when one may be a slip of the other.
const ALIKE: f64 = 0.7;

/// The entries, by name.
#[derive(Clone, Debug)]
pub struct Catalog(BTreeMap<String, Entry>);

impl Catalog {
    /// The built-in entries, with those of the operator's file or folder over them.
    ///
    /// # Errors
    /// [`CatalogError`] names the file, and the field or the line.
    pub fn load(operators: Option<&Path>) -> Result<Self, CatalogError> {
        files::load(operators).map(Self)
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
    fn every_file_is_an_entry() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/providers");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> =
            files.filter_map(|file| file.strip_suffix(".toml").map(ToOwned::to_owned)).collect();
        names.sort();
        let entries: Vec<String> = built_in().entries().map(|entry| entry.name.clone()).collect();
        assert_eq!(entries, names);
        assert!(names.len() >= 31);
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
    fn an_operators_folder_has_one_file_an_entry() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let acme = "display_name = \"Acme\"\nauth_url = \"https://acme.example/a\"\n\
                    token_url = \"https://acme.example/t\"\nconsole = \"https://acme.example\"\nsteps = []\n";
        write("acme.toml", acme);
        write("github.toml", "pkce = false\n");
        write("README.md", "# Ours");
        let catalog = Catalog::load(Some(folder.path())).unwrap();
        assert_eq!(catalog.entry("acme").unwrap().display_name, "Acme");
        let github = catalog.entry("github").unwrap();
        assert_eq!((github.pkce, github.display_name.as_str()), (false, "GitHub"));
        write("github.toml", "pcke = false\n");
        let refused = Catalog::load(Some(folder.path())).unwrap_err().to_string();
        assert!(refused.contains("/github.toml: unknown field `pcke`") && refused.lines().count() == 1, "{refused}");
    }

    #[test]
    fn a_broken_file_is_refused_in_one_line_that_names_the_place() {
        for (text, named) in [
            ("[acme\n", "line 1"),
            ("[acme]\ndisplay_name = \"Acme\"\n", "[acme]: missing field"),
            ("[github]\npcke = true\n", "[github]: unknown field `pcke`"),
            ("[github]\ntoken_url = \"https://{host}/t\"\n", "[github]: token_url has a placeholder"),
            ("[github]\ntoken_url = \"nowhere\"\n", "[github]: token_url is not a URL"),
            ("[github]\npkce = \"yes\"\n", "in `pkce`"),
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
        assert!(
            figma.recognised_options(true).refresh_url.is_some()
                && figma.recognised_options(false).refresh_url.is_none()
        );
    }
}
