//! What the catalogue promises, entry by entry.
//! Owns: that every file is a complete entry, that an operator's files go over ours, and which provider gets which quirks.
//! Must not know: the wire.

use std::io::Write;

use super::*;
use crate::model::{options::ProviderOptions, provider::example};

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
    let mut names: Vec<String> = files.filter_map(|file| file.strip_suffix(".toml").map(ToOwned::to_owned)).collect();
    names.sort();
    let entries: Vec<String> = built_in().entries().map(|entry| entry.name.clone()).collect();
    assert_eq!(entries, names);
    assert!(names.len() >= 200);
}

/// The table of `docs/catalogue.md`.
fn documented(catalog: &Catalog) -> String {
    let row = |entry: &Entry| {
        let set: Vec<String> = entry.params.keys().map(|param| format!("`{param}`")).collect();
        let sources = entry.sources.unwrap_or_default();
        let sources = if entry.confirmed { sources.to_string() } else { "1, not confirmed".to_owned() };
        let category = entry.category.as_deref().unwrap_or_default();
        let names: Vec<String> =
            std::iter::once(&entry.name).chain(&entry.aliases).map(|name| format!("`{name}`")).collect();
        let columns = [&names.join(", "), &entry.display_name, category, &set.join(", "), &sources]
            .map(|text| format!(" {text} "));
        format!("|{}|\n", columns.join("|").replace("  ", " "))
    };
    let head = "| Name | Provider | Category | To set | Sources |\n| --- | --- | --- | --- | --- |\n";
    std::iter::once(head.to_owned()).chain(catalog.entries().map(row)).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what `INSTA_UPDATE` means for the snapshots, it means for this page")]
fn the_documentation_lists_every_entry() {
    const PAGE: &str = "docs/catalogue.md";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once("<!-- entries -->\n").unwrap();
    let (table, after) = rest.split_once("<!-- end of entries -->\n").unwrap();
    let expected = documented(&built_in());
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        let page = format!("{before}<!-- entries -->\n{expected}<!-- end of entries -->\n{after}");
        std::fs::write(&path, page).unwrap();
    } else {
        assert!(
            table == expected,
            "{PAGE} is out of date: INSTA_UPDATE=always cargo test --lib the_documentation_lists"
        );
    }
}

#[test]
fn every_entry_is_complete_and_on_https() {
    for entry in built_in().entries() {
        for url in [&entry.auth_url, &entry.token_url].into_iter().chain(&entry.console).chain(&entry.references) {
            assert!(url.starts_with("https://"), "{}: {url}", entry.name);
        }
        assert!(entry.category.is_some(), "{}: category", entry.name);
        assert!(!entry.references.is_empty(), "{}: references", entry.name);
        let sources = entry.sources.unwrap_or_default();
        assert!(sources > 0, "{}: sources", entry.name);
        assert_eq!(entry.confirmed, sources > 1, "{}: one source confirms nothing", entry.name);
        let steps = entry.steps("https://here.example/callback").join("\n");
        assert!(steps.contains("https://here.example/callback"), "{}: no step names the redirect URI", entry.name);
        assert!(!entry.display_name.is_empty());
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
fn an_alias_means_its_entry_and_no_other() {
    let catalog = built_in();
    assert_eq!(catalog.entry("zoho-crm").unwrap().name, "zoho");
    assert_eq!(catalog.entry("gmail").unwrap().options().template.as_deref(), Some("google"));
    let mut seen = std::collections::HashSet::new();
    for alias in catalog.entries().flat_map(|entry| &entry.aliases) {
        assert!(seen.insert(alias) && !catalog.entries.contains_key(alias), "{alias} means two entries");
    }
    // The name of an operator's entry counts more than the alias of a built-in one.
    let text =
        "[gmail]\ndisplay_name = \"Ours\"\nauth_url = \"https://a.example/a\"\ntoken_url = \"https://a.example/t\"\n";
    assert_eq!(with_file(text).unwrap().entry("gmail").unwrap().display_name, "Ours");
}

#[test]
fn a_search_finds_names_aliases_and_categories_that_have_every_word() {
    let catalog = built_in();
    let found = |words: &str| catalog.search(words).map(|entry| entry.name.as_str()).collect::<Vec<_>>();
    assert!(found("Accounting").contains(&"xero"));
    assert_eq!(found("zoho-desk"), ["zoho"]);
    assert_eq!(found("hub GIT"), ["github"]);
    assert_eq!(found("").len(), catalog.entries.len());
    assert!(found("no such thing").is_empty());
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
fn what_would_only_be_noticed_at_a_consent_is_refused_with_the_field_and_what_it_should_be() {
    for (fields, named) in [
        (
            "userinfo = { url = \"https://a.example\", id = [\"sub\"] }",
            "userinfo.id has `sub`, but a JSON pointer begins with `/`",
        ),
        ("userinfo = { label = [\"/name\", \"email\"] }", "userinfo.label has `email`"),
        ("userinfo = { id = [] }", "userinfo.id is empty"),
        ("accounts = [{ id = [\"user.id\"] }]", "accounts.id has `user.id`"),
        ("accounts = [{ id = [\"/id\"], label = [\"name\"] }]", "accounts.label has `name`"),
        ("accounts = [{ id = [] }]", "accounts.id is empty"),
        ("token_paths = [\"data\"]", "token_paths has `data`"),
        ("token_hosts = [\"*\"]", "token_hosts has `*`, which is not a host name"),
        ("token_hosts = [\"*.acme.example\"]", "`.example.com` means every host below it"),
        ("token_hosts = [\"https://acme.example\"]", "token_hosts has `https://acme.example`"),
        ("token_hosts = [\"Acme.example\"]", "in lower case"),
        ("token_hosts = [\".com\"]", "every host that ends with it"),
        ("token_hosts = [\"\"]", "token_hosts has ``"),
        (
            "steps = [\"Enter {redirect_url}\"]",
            "steps has `{redirect_url}`, but the only placeholder there is `{redirect_uri}`",
        ),
        ("console = \"https://{tenant}.example\"", "console has a placeholder `{tenant}`"),
        ("refresh_url = \"https://a.example/{\"", "refresh_url is not a URL"),
        ("references = [\"page 7\"]", "references has `page 7`"),
        ("callback_parameters = [\"access_token\"]", "callback_parameters has `access_token`"),
        ("client_id_parameter = \"state\"", "client_id_parameter is `state`"),
        ("client_id_parameter = \"a b\"", "client_id_parameter is `a b`"),
    ] {
        let refused = with_file(&format!("[github]\n{fields}\n")).unwrap_err();
        assert!(refused.contains("[github]: ") && refused.contains(named), "{fields}: {refused}");
        assert_eq!(refused.lines().count(), 1, "{refused}");
    }
    for fields in [
        "token_hosts = [\"127.0.0.1\", \"localhost\", \".acme.example\", \"xn--bcher-kva.example\"]",
        "steps = [\"Paste {} and {\\\"a\\\": 1}\"]",
    ] {
        with_file(&format!("[github]\n{fields}\n")).unwrap_or_else(|refused| panic!("{fields}: {refused}"));
    }
}

#[test]
fn an_entry_that_was_meant_to_change_a_built_in_one_names_it() {
    let refused = with_file("[githb]\npkce = false\n").unwrap_err();
    assert!(refused.contains("[githb]: missing field `display_name`"), "{refused}");
    assert!(refused.contains("Did you mean github"), "{refused}");
    let complete =
        "[githb]\ndisplay_name = \"H\"\nauth_url = \"https://h.example/a\"\ntoken_url = \"https://h.example/t\"\n";
    assert!(with_file(complete).is_ok(), "a whole entry may be called what it likes");
    let unlike = with_file("[qqqqqq]\npkce = false\n").unwrap_err();
    assert!(!unlike.contains("Did you mean"), "{unlike}");
}

#[test]
fn a_provider_type_that_no_record_can_have_is_refused() {
    let refused = with_file("[github]\nprovider_type = \"bogus\"\n").unwrap_err();
    assert!(refused.contains("[github]") && refused.contains("microsoft, salesforce, slack, x"), "{refused}");
}

#[test]
fn a_provider_is_recognised_by_its_token_endpoint_and_then_by_its_type() {
    let catalog = built_in();
    let name = |url: &str, kind| catalog.recognise(url, kind).map(|(entry, at_host)| (entry.name.clone(), at_host));
    assert_eq!(name("https://api.figma.com/v1/oauth/token", None), Some(("figma".into(), true)));
    assert_eq!(name("https://proxy.example/token", Some("x")), Some(("x".into(), false)));
    assert_eq!(name("https://acme.zendesk.com/oauth/tokens", None), Some(("zendesk".into(), true)));
    for elsewhere in ["https://api.figma.com.evil.example/t", "https://evilzendesk.com/t", "https://acme.example/t"] {
        assert_eq!(name(elsewhere, None), None);
    }
    let (figma, _) = catalog.recognise("https://api.figma.com/v1/oauth/token", None).unwrap();
    assert!(
        figma.recognised_options(true).refresh_url.is_some() && figma.recognised_options(false).refresh_url.is_none()
    );
}

#[test]
fn of_several_entries_at_a_host_the_path_decides_then_token_url_then_the_name() {
    let entry = |name: &str, token_url: &str, more: &str| {
        format!(
            "[{name}]\ndisplay_name = \"{name}\"\nauth_url = \"https://x.example/a\"\ntoken_url = \"{token_url}\"\n{more}\n"
        )
    };
    let catalog = with_file(
        &[
            entry("b-two", "https://login.one.example/two", ""),
            entry("a-one", "https://login.one.example/one", ""),
            entry("0-old", "https://elsewhere.example/t", "token_hosts = [\"login.one.example\"]"),
            entry("c-any", "https://{host}.one.example/t", "params = { host = \"the host\" }"),
            entry("d-eu", "https://{host}.eu.one.example/t", "params = { host = \"the host\" }"),
        ]
        .concat(),
    )
    .unwrap();
    let name = |url: &str| catalog.recognise(url, None).map(|(entry, _)| entry.name.clone());
    for (url, expected) in [
        ("https://login.one.example/one", "a-one"),
        ("https://login.one.example/two", "b-two"),
        ("https://login.one.example/other", "a-one"),
        ("https://other.one.example/t", "c-any"),
        ("https://acme.eu.one.example/t", "d-eu"),
    ] {
        assert_eq!(name(url).as_deref(), Some(expected), "{url}");
        // The hosts that other entries only name change nothing.
        let known = catalog.at_any_host.find(url);
        assert_eq!(known, Some(expected), "{url}");
    }
    assert_eq!(name("https://one.example/t"), None);
}

/// A client whose record was made from `template`, at that token endpoint.
fn client(template: Option<&str>, token_url: &str) -> Client {
    let options = ProviderOptions { template: template.map(ToOwned::to_owned), ..ProviderOptions::default() };
    Client { token_url: token_url.to_owned(), options, ..example().client }
}

#[test]
fn quirks_are_those_of_the_template_else_of_the_token_endpoint_else_of_every_entry() {
    let catalog = built_in();
    let dead = |template, url| catalog.quirks_of(&client(template, url)).errors.dead_grant.clone();
    let (slack, elsewhere) = ("https://slack.com/api/oauth.v2.access", "https://proxy.example/token");
    assert_eq!(dead(Some("facebook"), elsewhere), ["OAuthException"]);
    assert_eq!(dead(Some("facebook"), slack), ["OAuthException"]);
    assert!(dead(None, slack).contains(&"token_revoked".to_owned()));
    assert!(!dead(None, slack).contains(&"OAuthException".to_owned()));
    let unrecognised = catalog.quirks_of(&client(None, elsewhere));
    for code in ["OAuthException", "token_revoked", "bad_refresh_token"] {
        assert!(unrecognised.errors.dead_grant.contains(&code.to_owned()), "{code}");
    }
    // The more precise ids come first.
    assert_eq!(unrecognised.accounts[0].id.len(), 2);
    assert_eq!(catalog.quirks_of(&client(Some("no longer there"), elsewhere)).metadata, unrecognised.metadata);
    for field in ["team", "hub_id", "instance_url", "api_domain", "realmId", "user_id"] {
        assert!(unrecognised.metadata.contains(&field.to_owned()), "{field}");
    }
}

#[test]
fn other_hosts_of_a_token_endpoint_are_known_to_quirks_only() {
    let catalog = built_in();
    let old = "https://api.twitter.com/2/oauth2/token";
    assert_eq!(catalog.revocation_url_of(&client(None, old)).as_deref(), Some("https://api.x.com/2/oauth2/revoke"));
    assert!(catalog.recognise(old, None).is_none(), "a new record is not changed by it");
}

#[test]
fn a_type_decides_what_is_added_to_authorization_requests() {
    let catalog = built_in();
    let added = |auth_url: &str, kind: Option<&str>, template: Option<&str>| {
        let provider = Provider {
            auth_url: auth_url.to_owned(),
            provider_type: kind.map(ToOwned::to_owned),
            client: client(template, "https://p.example/token"),
            ..example()
        };
        let quirks = catalog.authorization_quirks_of(&provider);
        (quirks.always_scopes.concat(), quirks.parameters.len(), quirks.scope_parameter.is_some())
    };
    let google = "https://accounts.google.com/o/oauth2/v2/auth";
    assert_eq!(added(google, None, None), (String::new(), 2, false));
    assert_eq!(added(google, Some("x"), None), ("offline.access".into(), 0, false));
    assert_eq!(added("https://p.example/a", Some("slack"), None), (String::new(), 0, true));
    assert_eq!(added("https://slack.com/oauth/v2/authorize", None, None), (String::new(), 0, false));
    assert_eq!(added("https://p.example/a", None, Some("google")), (String::new(), 2, false));
}

#[test]
fn an_operators_entry_of_a_type_keeps_what_the_type_adds_and_takes_it_from_no_other() {
    let own = "display_name = \"Corp\"\nauth_url = \"https://id.corp.example/a\"\ntoken_url = \"https://id.corp.example/t\"\n\
               console = \"https://id.corp.example\"\nsteps = []\nprovider_type = \"microsoft\"\n\
               enforced = [\"authorization_params\"]\n[a-corp.authorization_params]\ndomain_hint = \"corp\"\n";
    let catalog = with_file(&format!("[a-corp]\n{own}")).unwrap();
    let added = |template: Option<&str>| {
        let provider = Provider {
            provider_type: Some("microsoft".into()),
            client: client(template, "https://p.example/token"),
            ..example()
        };
        catalog.authorization_quirks_of(&provider).clone()
    };
    assert_eq!((added(None).always_scopes.concat(), added(None).parameters.len()), ("offline_access".into(), 0));
    let corp = added(Some("a-corp"));
    assert_eq!(
        (corp.always_scopes.concat(), corp.parameters["domain_hint"].as_str()),
        ("offline_access".into(), "corp")
    );
    let prefix = catalog.quirks_of(&client(Some("a-corp"), "https://id.corp.example/t")).scope_prefix.as_deref();
    assert_eq!(prefix, Some("https://graph.microsoft.com/"));
}

#[test]
fn an_address_that_gets_tokens_goes_with_the_token_endpoint_of_its_entry() {
    let catalog = built_in();
    let elsewhere = client(Some("github"), "https://git.corp.example/login/oauth/access_token");
    assert_eq!(catalog.revocation_url_of(&elsewhere), None);
    assert!(catalog.userinfo_of(&elsewhere, None, &[]).is_none());
    let moved = with_file("[github]\ntoken_url = \"https://git.corp.example/token\"\n").unwrap();
    assert_eq!(moved.revocation_url_of(&elsewhere), None);
    assert!(moved.userinfo_of(&elsewhere, None, &[]).is_none());
}
