//! Settings as they are shown to those who run the server: every one with its value and its meaning, no secret.
//! Owns: the order, and the meanings.
//! Must not know: where they are shown.

use toml::{Table, Value};

use super::{DEFAULT, Settings};

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its name in a settings file.
    pub name: String,
    /// Its value; empty if it is not set.
    pub value: String,
    /// What `config/default.toml` says of it.
    pub meaning: String,
}

impl Settings {
    /// Every setting, in the order of `config/default.toml`.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        // Every field can be written as TOML; a test reads them all.
        let values = Table::try_from(self).unwrap_or_default();
        let (mut shown, mut meaning) = (Vec::new(), Vec::new());
        for line in DEFAULT.lines() {
            if let Some(comment) = line.strip_prefix('#') {
                meaning.push(comment.trim());
            } else if let Some((name, _)) = line.split_once(" = ") {
                let value = values.get(name).map(text).unwrap_or_default();
                shown.push(Shown { name: name.to_owned(), value, meaning: meaning.join(" ") });
            } else {
                meaning.clear();
            }
        }
        shown
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(is_on) => is_on.to_string(),
        // No setting has any of these.
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::{
        super::{DEFAULTS, SECRET},
        *,
    };

    #[test]
    fn every_setting_is_shown_with_its_meaning_and_no_secret() {
        let secret = || Some(SecretString::from("hunter2"));
        let settings = Settings {
            database_url: secret(),
            listen_database_url: secret(),
            encryption_keys: secret(),
            vault_token: secret(),
            bootstrap_api_key: secret(),
            console_oidc_client_secret: secret(),
            public_url: Some("https://auth.example".to_owned()),
            ..Settings::default()
        };
        let shown = settings.shown();
        assert_eq!(shown.len(), DEFAULTS.len());
        assert!(shown.iter().all(|setting| DEFAULTS.contains_key(&setting.name)), "{shown:?}");
        let value = |name: &str| shown.iter().find(|setting| setting.name == name).unwrap().value.as_str();
        assert_eq!((value("public_url"), value("console"), value("audit_days")), ("https://auth.example", "on", "90"));
        assert_eq!((value("encryption_keys"), value("vault_address")), (SECRET, ""));
        assert!(!format!("{shown:?}").contains("hunter2"));
        let said = &shown.iter().find(|setting| setting.name == "console").unwrap().meaning;
        assert!(said.starts_with("The operators' console at /console"), "{said}");
    }
}
