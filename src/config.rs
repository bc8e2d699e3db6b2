//! Settings: flat, from the embedded defaults, a file, the environment and flags, in that order.
//! Owns: reading of the environment, and the refusal of what it does not know, by name.
//! Must not know: what a setting is used for beyond its range.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use config::{Config, File, FileFormat};
use secrecy::SecretString;
use serde::Deserialize;

/// The embedded defaults, which are also the documentation of every setting.
pub const DEFAULT: &str = include_str!("../config/default.toml");
const ENV_PREFIX: &str = "AGENT_AUTH_";
/// The settings that can also be read from a file named by `AGENT_AUTH_<KEY>_FILE`.
const SECRETS: [&str; 3] = ["database_url", "encryption_keys", "bootstrap_api_key"];

/// Every setting. Their meanings stand in `config/default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/default.toml is the documentation of each of them")]
pub struct Settings {
    pub listen: String,
    #[serde(deserialize_with = "unset_when_empty")]
    pub public_url: Option<String>,
    #[serde(deserialize_with = "secret_unset_when_empty")]
    pub database_url: Option<SecretString>,
    pub database_connections: u32,
    pub data_dir: PathBuf,
    #[serde(deserialize_with = "secret_unset_when_empty")]
    pub encryption_keys: Option<SecretString>,
    #[serde(deserialize_with = "secret_unset_when_empty")]
    pub bootstrap_api_key: Option<SecretString>,
    pub allow_private_upstreams: String,
    #[serde(deserialize_with = "path_unset_when_empty")]
    pub catalog_file: Option<PathBuf>,
    pub identity: String,
    pub consent: String,
    pub authorization_ttl_seconds: i64,
    pub wait_max_seconds: i64,
    pub provider_timeout_seconds: u64,
    pub api_key_cache_seconds: u64,
    pub keep_alive_used_within_hours: i64,
    pub keep_alive_idle_days: i64,
    pub dead_token_days: i64,
    pub max_connections: usize,
    pub log: String,
}

/// Why the settings were refused: one line that names the setting.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

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
            let name = format!("{ENV_PREFIX}{}", key.to_uppercase());
            let value = value.into_string().map_err(|_| ConfigError(format!("{name} is not UTF-8")))?;
            let (key, value) = match key.strip_suffix("_file") {
                Some(secret) if SECRETS.contains(&secret) => (secret.to_owned(), read_secret(&name, &value)?),
                _ => (key, value),
            };
            if !known_keys().contains(&key) {
                return Err(ConfigError(format!("unknown setting {name}; `agent-auth serve --help` lists them all")));
            }
            if values.insert(key, value).is_some() {
                return Err(ConfigError(format!("{name} and its _FILE variant are both set; keep one")));
            }
        }
        values.extend(flags);
        Self::from_sources(file, values)
    }

    fn from_sources(file: Option<&Path>, overrides: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut sources = Config::builder().add_source(File::from_str(DEFAULT, FileFormat::Toml));
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError(format!("cannot read {}: {error}", path.display())))?;
            refuse_unknown_keys(path, &text)?;
            sources = sources.add_source(File::from_str(&text, FileFormat::Toml));
        }
        for (key, value) in overrides {
            sources = sources.set_override(&key, value).map_err(|error| ConfigError(error.to_string()))?;
        }
        let settings: Self = sources
            .build()
            .and_then(Config::try_deserialize)
            .map_err(|error| ConfigError(format!("settings: {error}")))?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse =
            |name: &str, expected: &str| Err(ConfigError(format!("{ENV_PREFIX}{}: {expected}", name.to_uppercase())));
        if !(60..=3600).contains(&self.authorization_ttl_seconds) {
            return refuse("authorization_ttl_seconds", "expected 60 to 3600");
        }
        if !(1..=3600).contains(&self.wait_max_seconds) {
            return refuse("wait_max_seconds", "expected 1 to 3600");
        }
        if !(1..=60).contains(&self.provider_timeout_seconds) {
            return refuse("provider_timeout_seconds", "expected 1 to 60");
        }
        if self.api_key_cache_seconds > 300 {
            return refuse("api_key_cache_seconds", "expected 0 to 300");
        }
        if !(1..=100).contains(&self.database_connections) {
            return refuse("database_connections", "expected 1 to 100");
        }
        if !(0..=8760).contains(&self.keep_alive_used_within_hours) {
            return refuse("keep_alive_used_within_hours", "expected 0 to 8760");
        }
        if !(0..=3650).contains(&self.keep_alive_idle_days) {
            return refuse("keep_alive_idle_days", "expected 0 to 3650");
        }
        if !(0..=3650).contains(&self.dead_token_days) {
            return refuse("dead_token_days", "expected 0 to 3650");
        }
        if self.max_connections == 0 {
            return refuse("max_connections", "expected at least 1");
        }
        if self.identity != "api-key" {
            return refuse("identity", "expected `api-key`, the only one this version has");
        }
        if self.consent != "direct" {
            return refuse("consent", "expected `direct`, the only one this version has");
        }
        let too_short = |key: &SecretString| secrecy::ExposeSecret::expose_secret(key).len() < 32;
        if self.bootstrap_api_key.as_ref().is_some_and(too_short) {
            return refuse("bootstrap_api_key", "expected at least 32 characters, e.g. from `openssl rand -hex 32`");
        }
        Ok(())
    }
}

impl Default for Settings {
    /// The embedded defaults.
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the embedded text never changes at run time, and a test reads it")]
        Self::from_sources(None, BTreeMap::new()).expect("config/default.toml is valid")
    }
}

fn known_keys() -> BTreeSet<String> {
    DEFAULT
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, _)| key.trim().to_owned())
        .collect()
}

fn refuse_unknown_keys(path: &Path, text: &str) -> Result<(), ConfigError> {
    let refused = |what: String| ConfigError(format!("{}: {what}", path.display()));
    let table: BTreeMap<String, config::Value> = Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .build()
        .and_then(Config::try_deserialize)
        .map_err(|error| refused(error.to_string()))?;
    match table.keys().find(|key| !known_keys().contains(*key)) {
        Some(key) => Err(refused(format!("unknown setting `{key}`; `agent-auth serve --help` lists them all"))),
        None => Ok(()),
    }
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

    #[test]
    fn the_embedded_defaults_are_valid_and_complete() {
        let settings = Settings::default();
        assert_eq!(settings.listen, "127.0.0.1:8080");
        assert!(settings.database_url.is_none());
        assert_eq!(known_keys().len(), 20);
    }

    #[test]
    fn an_unknown_key_in_a_file_is_refused_by_name() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "listen = \"127.0.0.1:1\"\nlissten = \"x\"").unwrap();
        let error = Settings::from_sources(Some(file.path()), BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("unknown setting `lissten`"), "{error}");
    }

    #[test]
    fn a_flag_beats_a_file_and_numbers_may_come_as_text() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "listen = \"127.0.0.1:1\"\nwait_max_seconds = 7").unwrap();
        let flags = BTreeMap::from([
            ("listen".to_owned(), "127.0.0.1:2".to_owned()),
            ("authorization_ttl_seconds".to_owned(), "61".to_owned()),
        ]);
        let settings = Settings::from_sources(Some(file.path()), flags).unwrap();
        assert_eq!((settings.listen.as_str(), settings.wait_max_seconds), ("127.0.0.1:2", 7));
        assert_eq!(settings.authorization_ttl_seconds, 61);
    }

    #[test]
    fn a_value_out_of_range_is_refused_by_name() {
        let flags = BTreeMap::from([("wait_max_seconds".to_owned(), "0".to_owned())]);
        let error = Settings::from_sources(None, flags).unwrap_err().to_string();
        assert!(error.contains("AGENT_AUTH_WAIT_MAX_SECONDS"), "{error}");
    }
}
