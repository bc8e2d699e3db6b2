//! Settings: from the embedded defaults, a file, the environment and flags; the later source wins.
//! Owns: reading the environment, and checking names, types and ranges.
//! Must not know: what a setting is used for.

mod langsmith;
pub mod pages;
mod service_links;
pub mod shown;
mod single_sign_on;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};
use toml::{Table, Value};

use service_links::is_service_link;

/// The embedded defaults, which are also the documentation of every setting.
pub const DEFAULT: &str = include_str!("../config/default.toml");
const ENV_PREFIX: &str = "AGENT_AUTH_";
const SEE_ALL: &str = "`agent-auth serve --help` lists every setting";
/// How similar a known name must be to be suggested for an unknown one.
const ALIKE: f64 = 0.85;
/// The settings that can also be read from a file named by `AGENT_AUTH_<KEY>_FILE`.
const SECRETS: [&str; 6] = [
    "database_url",
    "listen_database_url",
    "encryption_keys",
    "vault_token",
    "bootstrap_api_key",
    "console_oidc_client_secret",
];
/// The variables of other programs that `agent-auth import` reads.
const OF_OTHERS: [&str; 4] = ["NANGO_DATABASE_URL", "NANGO_ENCRYPTION_KEY", "LANGSMITH_API_KEY", "LANGSMITH_API_URL"];
/// The smallest and the largest value of each number.
const RANGES: [(&str, i64, i64); 18] = [
    ("database_connections", 1, 100),
    ("database_wait_seconds", 0, 3600),
    ("authorization_ttl_seconds", 60, 3600),
    ("wait_max_seconds", 1, 3600),
    ("provider_timeout_seconds", 1, 60),
    ("api_key_cache_seconds", 0, 300),
    ("keep_alive_used_within_hours", 0, 8760),
    ("keep_alive_idle_days", 0, 3650),
    ("dead_token_days", 0, 3650),
    ("audit_days", 0, 3650),
    ("max_connections", 1, i64::MAX),
    ("shutdown_delay_seconds", 0, 600),
    ("key_requests_per_second", 0, 1_000_000),
    ("address_requests_per_second", 0, 1_000_000),
    ("failed_keys_per_minute", 0, 1_000_000),
    ("waits_per_key", 0, i64::MAX),
    ("pending_requests_per_workspace", 0, i64::MAX),
    ("pending_requests_per_user", 0, i64::MAX),
];

/// What is written for a secret that is set.
const SECRET: &str = "set, not shown";

static DEFAULTS: LazyLock<Table> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the embedded text never changes at run time, and a test reads it")]
    toml::from_str(DEFAULT).expect("config/default.toml is valid")
});

/// Every setting. `config/default.toml` describes each of them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml documents each of them")]
pub struct Settings {
    pub listen: String,
    #[serde(deserialize_with = "unset_when_empty")]
    pub public_url: Option<String>,
    #[serde(deserialize_with = "secret_unset_when_empty", serialize_with = "masked")]
    pub database_url: Option<SecretString>,
    pub database_connections: u32,
    pub database_pooler: String,
    #[serde(deserialize_with = "secret_unset_when_empty", serialize_with = "masked")]
    pub listen_database_url: Option<SecretString>,
    pub database_wait_seconds: u64,
    pub data_dir: PathBuf,
    #[serde(deserialize_with = "secret_unset_when_empty", serialize_with = "masked")]
    pub encryption_keys: Option<SecretString>,
    #[serde(deserialize_with = "unset_when_empty")]
    pub vault_address: Option<String>,
    pub vault_transit_key: String,
    #[serde(deserialize_with = "secret_unset_when_empty", serialize_with = "masked")]
    pub vault_token: Option<SecretString>,
    #[serde(deserialize_with = "unset_when_empty")]
    pub vault_namespace: Option<String>,
    #[serde(deserialize_with = "path_unset_when_empty")]
    pub vault_ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "secret_unset_when_empty", serialize_with = "masked")]
    pub bootstrap_api_key: Option<SecretString>,
    pub allow_private_upstreams: String,
    #[serde(deserialize_with = "path_unset_when_empty")]
    pub catalog_file: Option<PathBuf>,
    pub identity: String,
    #[serde(deserialize_with = "unset_when_empty")]
    pub langsmith_endpoint: Option<String>,
    #[serde(deserialize_with = "unset_when_empty")]
    pub langsmith_tenant_ids: Option<String>,
    pub langsmith_role: String,
    pub consent: String,
    pub authorization_ttl_seconds: i64,
    pub wait_max_seconds: i64,
    pub provider_timeout_seconds: u64,
    pub api_key_cache_seconds: u64,
    pub keep_alive_used_within_hours: i64,
    pub keep_alive_idle_days: i64,
    pub dead_token_days: i64,
    pub token_cache: String,
    pub audit_handouts: String,
    pub audit_days: i64,
    pub max_connections: usize,
    pub shutdown_delay_seconds: u64,
    pub trusted_proxies: String,
    pub cors_origins: String,
    pub console: String,
    #[serde(deserialize_with = "unset_when_empty")]
    pub console_oidc_issuer: Option<String>,
    #[serde(deserialize_with = "unset_when_empty")]
    pub console_oidc_client_id: Option<String>,
    #[serde(deserialize_with = "secret_unset_when_empty", serialize_with = "masked")]
    pub console_oidc_client_secret: Option<SecretString>,
    pub console_oidc_scopes: String,
    pub console_oidc_groups_claim: String,
    pub console_oidc_admin_groups: String,
    pub console_oidc_viewer_groups: String,
    #[serde(deserialize_with = "unset_when_empty")]
    pub console_oidc_organization: Option<String>,
    #[serde(deserialize_with = "unset_when_empty")]
    pub console_oidc_workspace: Option<String>,
    pub console_langsmith_role: String,
    #[serde(deserialize_with = "unset_when_empty")]
    pub brand_name: Option<String>,
    #[serde(deserialize_with = "path_unset_when_empty")]
    pub brand_logo: Option<PathBuf>,
    #[serde(deserialize_with = "unset_when_empty")]
    pub brand_color: Option<String>,
    #[serde(deserialize_with = "unset_when_empty")]
    pub support_url: Option<String>,
    #[serde(deserialize_with = "unset_when_empty")]
    pub privacy_url: Option<String>,
    pub frame_ancestors: String,
    pub key_requests_per_second: u32,
    pub address_requests_per_second: u32,
    pub failed_keys_per_minute: u32,
    pub waits_per_key: usize,
    pub pending_requests_per_workspace: usize,
    pub pending_requests_per_user: usize,
    pub log: String,
    #[serde(deserialize_with = "unset_when_empty")]
    pub otlp_endpoint: Option<String>,
    pub trace_context_to_providers: String,
}

/// Why the settings were refused: one line that names the setting.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// A variable of another program; `None` if it is not set, or not one that is read here.
#[must_use]
pub fn variable_of_another_program(name: &str) -> Option<SecretString> {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let value = OF_OTHERS.contains(&name).then(|| std::env::var(name).ok()).flatten();
    value.filter(|value| !value.is_empty()).map(SecretString::from)
}

impl Settings {
    /// Reads the defaults, then `file`, then the environment, then `flags` (setting name to value).
    ///
    /// # Errors
    /// [`ConfigError`] names the setting that is unknown, unreadable or out of range.
    pub fn load(file: Option<&Path>, flags: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter_map(|(name, value)| Some((name.strip_prefix(ENV_PREFIX)?.to_lowercase(), value)));
        let mut values = BTreeMap::new();
        for (key, value) in environment {
            let name = variable(&key);
            let value = value.into_string().map_err(|_| ConfigError(format!("{name} is not UTF-8")))?;
            let (key, value) = match key.strip_suffix("_file") {
                Some(secret) if SECRETS.contains(&secret) => (secret.to_owned(), read_secret(&name, &value)?),
                _ => (key, value),
            };
            if !DEFAULTS.contains_key(&key) {
                if is_service_link(&key, &value) {
                    continue;
                }
                return Err(unknown_variable(&key));
            }
            if values.insert(key, value).is_some() {
                return Err(ConfigError(format!("{name} and its _FILE variant are both set; keep one")));
            }
        }
        values.extend(flags);
        Self::from_sources(file, values)
    }

    fn from_sources(file: Option<&Path>, overrides: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut table = DEFAULTS.clone();
        if let Some(path) = file {
            for (key, value) in read_file(path)? {
                let refused = |problem| ConfigError(format!("{}: {problem}", path.display()));
                let Some(default) = DEFAULTS.get(&key) else { return Err(refused(unknown(&key))) };
                let value = checked(&key, default, value).map_err(|problem| refused(format!("{key}: {problem}")))?;
                table.insert(key, value);
            }
        }
        for (key, value) in overrides {
            let refused = |problem| ConfigError(format!("{}: {problem}", variable(&key)));
            let default = DEFAULTS.get(&key).ok_or_else(|| unknown_variable(&key))?;
            // An empty number says nothing: what a file says of it stays.
            if value.is_empty() && default.is_integer() {
                continue;
            }
            let value = checked(&key, default, Value::String(value)).map_err(refused)?;
            table.insert(key, value);
        }
        let settings: Self = table.try_into().map_err(|error| ConfigError(format!("settings: {}", error.message())))?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |key: &str, problem: &str| Err(ConfigError(format!("{}: {problem}", variable(key))));
        for (key, value) in [("token_cache", &self.token_cache), ("console", &self.console)] {
            if !["on", "off"].contains(&value.as_str()) {
                return refuse(key, "expected `on` or `off`");
            }
        }
        if !["on", "off"].contains(&self.trace_context_to_providers.as_str()) {
            return refuse("trace_context_to_providers", "expected `on` or `off`");
        }
        if self.trace_context_to_providers == "on" && self.otlp_endpoint.is_none() {
            let problem = "has no effect without AGENT_AUTH_OTLP_ENDPOINT; set that, or remove this setting";
            return refuse("trace_context_to_providers", problem);
        }
        if let Err((key, problem)) = self.check_langsmith() {
            return refuse(key, problem);
        }
        self.check_single_sign_on().map_err(|(key, problem)| ConfigError(format!("{}: {problem}", variable(key))))?;
        if !["none", "session", "transaction"].contains(&self.database_pooler.as_str()) {
            return refuse("database_pooler", "expected `none`, `session` or `transaction`");
        }
        if self.database_pooler == "transaction" && self.listen_database_url.is_none() {
            let problem = "required with AGENT_AUTH_DATABASE_POOLER=transaction: the URL of the same database without \
                           the pooler, for LISTEN and migrations, which need a session of their own";
            return refuse("listen_database_url", problem);
        }
        if self.listen_database_url.is_some() && self.database_url.is_none() {
            let problem = "has no effect without AGENT_AUTH_DATABASE_URL; set that, or remove this setting";
            return refuse("listen_database_url", problem);
        }
        if let Err((key, problem)) = self.check_pages() {
            return refuse(key, &problem);
        }
        let too_short = |key: &SecretString| secrecy::ExposeSecret::expose_secret(key).len() < 32;
        if self.bootstrap_api_key.as_ref().is_some_and(too_short) {
            return refuse("bootstrap_api_key", "expected at least 32 characters; `openssl rand -hex 32` prints some");
        }
        Ok(())
    }
}

/// Writes that a secret is set, and nothing of it.
#[expect(clippy::ref_option, reason = "serde passes a field like this")]
fn masked<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.is_some() { SECRET } else { "" })
}

impl Default for Settings {
    /// The embedded defaults.
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the embedded text never changes at run time, and a test reads it")]
        Self::from_sources(None, BTreeMap::new()).expect("config/default.toml is valid")
    }
}

/// The value in the type of the default. Numbers may come as text, which is all that an environment has.
fn checked(key: &str, default: &Value, value: Value) -> Result<Value, String> {
    match (default, value) {
        (Value::Integer(default), Value::String(text)) => match text.trim().parse() {
            Ok(number) => in_range(key, number),
            Err(_) => Err(format!("expected a whole number, such as {default}, but found `{text}`")),
        },
        (Value::Integer(_), Value::Integer(number)) => in_range(key, number),
        (Value::Integer(default), _) => Err(format!("expected a whole number, such as {default}")),
        (_, Value::String(text)) => Ok(Value::String(text)),
        (_, Value::Boolean(value)) => Ok(Value::String(value.to_string())),
        _ => Err("expected a text in quotes".to_owned()),
    }
}

fn in_range(key: &str, number: i64) -> Result<Value, String> {
    match RANGES.iter().find(|(name, ..)| *name == key) {
        Some((_, min, max)) if !(*min..=*max).contains(&number) => Err(match *max {
            i64::MAX => format!("expected {min} or more"),
            max => format!("expected a number from {min} to {max}"),
        }),
        _ => Ok(Value::Integer(number)),
    }
}

fn variable(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.to_uppercase())
}

fn unknown_variable(key: &str) -> ConfigError {
    if key.strip_suffix("_file").is_some_and(|key| DEFAULTS.contains_key(key)) {
        let secrets = SECRETS.map(str::to_uppercase).join(", ");
        return ConfigError(format!("unknown setting {}; only {secrets} have a _FILE variant", variable(key)));
    }
    let name = variable(key);
    ConfigError(match similar(key) {
        Some(meant) => format!("unknown setting {name}. Did you mean {}?", variable(&meant)),
        None => format!("unknown setting {name}; {SEE_ALL}"),
    })
}

fn unknown(key: &str) -> String {
    match similar(&key.to_lowercase()) {
        Some(meant) => format!("unknown setting `{key}`. Did you mean `{meant}`?"),
        None => format!("unknown setting `{key}`; {SEE_ALL}"),
    }
}

/// The known setting that `key` may be a misspelling of.
fn similar(key: &str) -> Option<String> {
    let files = SECRETS.iter().map(|secret| format!("{secret}_file"));
    let names: BTreeSet<String> = DEFAULTS.keys().cloned().chain(files).collect();
    let alike = names.into_iter().map(|name| (strsim::jaro(&name, key), name)).filter(|(alike, _)| *alike > ALIKE);
    alike.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, name)| name)
}

/// The file's settings. An error shows no line of the file, which may hold a secret.
fn read_file(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError(format!("cannot read {}: {error}", path.display())))?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.lines().count().max(1);
        ConfigError(format!("{}, line {line}: {}", path.display(), error.message()))
    })
}

fn read_secret(name: &str, path: &str) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
        .map_err(|error| ConfigError(format!("{name}: cannot read {path}: {error}")))
}

fn unset_when_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = String::deserialize(deserializer)?;
    Ok(Some(value).filter(|value| !value.is_empty()))
}

fn path_unset_when_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    unset_when_empty(deserializer).map(|value| value.map(PathBuf::from))
}

fn secret_unset_when_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SecretString>, D::Error> {
    unset_when_empty(deserializer).map(|value| value.map(SecretString::from))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn refused_in_file(text: &str) -> String {
        Settings::from_sources(Some(file(text).path()), BTreeMap::new()).unwrap_err().to_string()
    }

    fn with(key: &str, value: &str) -> Result<Settings, String> {
        let values = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        Settings::from_sources(None, values).map_err(|error| error.to_string())
    }

    #[test]
    fn the_embedded_defaults_are_valid_and_complete() {
        let settings = Settings::default();
        assert_eq!(settings.listen, "127.0.0.1:8080");
        assert!(settings.database_url.is_none());
        assert_eq!(DEFAULTS.len(), 62);
        for (key, default) in &*DEFAULTS {
            let has_range = RANGES.iter().any(|(name, ..)| name == key);
            assert_eq!(default.is_integer(), has_range, "{key}");
        }
    }

    #[test]
    fn an_unknown_key_in_a_file_is_refused_by_name() {
        let refused = refused_in_file("listen = \"127.0.0.1:1\"\nlissten = \"x\"");
        assert!(refused.ends_with("unknown setting `lissten`. Did you mean `listen`?"), "{refused}");
        let refused = refused_in_file("colour = 1");
        assert!(
            refused.ends_with("unknown setting `colour`; `agent-auth serve --help` lists every setting"),
            "{refused}"
        );
    }

    #[test]
    fn a_misspelled_variable_is_refused_with_the_one_that_was_meant() {
        for (key, meant) in [
            ("listn", "AGENT_AUTH_LISTEN"),
            ("databse_url", "AGENT_AUTH_DATABASE_URL"),
            ("encryption_key", "AGENT_AUTH_ENCRYPTION_KEYS"),
            ("encryption_key_file", "AGENT_AUTH_ENCRYPTION_KEYS_FILE"),
        ] {
            let refused = unknown_variable(key).to_string();
            assert!(refused.ends_with(&format!(". Did you mean {meant}?")), "{refused}");
        }
        assert!(unknown_variable("colour").to_string().ends_with("lists every setting"));
        assert!(unknown_variable("listen_file").to_string().contains("only DATABASE_URL"));
    }

    #[test]
    fn a_flag_beats_a_file_and_numbers_may_come_as_text() {
        let file = file("listen = \"127.0.0.1:1\"\nwait_max_seconds = 7\nallow_private_upstreams = true");
        let flags = BTreeMap::from([
            ("listen".to_owned(), "127.0.0.1:2".to_owned()),
            ("authorization_ttl_seconds".to_owned(), "61".to_owned()),
            ("wait_max_seconds".to_owned(), String::new()),
        ]);
        let settings = Settings::from_sources(Some(file.path()), flags).unwrap();
        assert_eq!(
            (settings.listen.as_str(), settings.wait_max_seconds),
            ("127.0.0.1:2", 7),
            "an empty number is not set"
        );
        assert_eq!(settings.authorization_ttl_seconds, 61);
        assert_eq!(settings.allow_private_upstreams, "true");
        assert_eq!(with("wait_max_seconds", "").unwrap().wait_max_seconds, 300, "an empty value is not set");
    }

    #[test]
    fn a_value_out_of_range_is_refused_by_name() {
        let refused = |key: &str, value: &str| with(key, value).unwrap_err();
        assert_eq!(refused("wait_max_seconds", "0"), "AGENT_AUTH_WAIT_MAX_SECONDS: expected a number from 1 to 3600");
        assert_eq!(refused("max_connections", "-1"), "AGENT_AUTH_MAX_CONNECTIONS: expected 1 or more");
        let in_file = refused_in_file("database_connections = -1");
        assert!(in_file.ends_with(": database_connections: expected a number from 1 to 100"), "{in_file}");
    }

    #[test]
    fn what_is_not_a_number_is_refused_by_name() {
        assert_eq!(
            with("wait_max_seconds", "abc").unwrap_err(),
            "AGENT_AUTH_WAIT_MAX_SECONDS: expected a whole number, such as 300, but found `abc`"
        );
        let in_file = refused_in_file("wait_max_seconds = 1.5");
        assert!(in_file.ends_with(": wait_max_seconds: expected a whole number, such as 300"), "{in_file}");
        let in_file = refused_in_file("listen = 8080");
        assert!(in_file.ends_with(": listen: expected a text in quotes"), "{in_file}");
    }

    #[test]
    fn a_file_that_is_not_toml_is_refused_with_its_line_and_without_its_text() {
        let refused = refused_in_file("listen = \"127.0.0.1:1\"\nencryption_keys = k1:hunter2\n");
        assert!(refused.contains(", line 2: "), "{refused}");
        assert!(!refused.contains("hunter2") && !refused.contains('\n'), "{refused}");
    }
}
