//! The settings of single sign-on for the console, which are only of use together.
//! Owns: which of them need which.
//! Must not know: identity providers.

use super::Settings;

/// The setting that is wrong, and what to do.
type Problem = (&'static str, String);

impl Settings {
    /// Checks that all settings are there if one is.
    pub(super) fn check_single_sign_on(&self) -> Result<(), Problem> {
        let given = [
            ("console_oidc_client_id", self.console_oidc_client_id.is_some()),
            ("console_oidc_client_secret", self.console_oidc_client_secret.is_some()),
            ("console_oidc_admin_groups", has_entry(&self.console_oidc_admin_groups)),
            ("console_oidc_viewer_groups", has_entry(&self.console_oidc_viewer_groups)),
            ("console_oidc_organization", self.console_oidc_organization.is_some()),
            ("console_oidc_workspace", self.console_oidc_workspace.is_some()),
        ];
        let is_given = |name: &str| given.iter().any(|(key, is_given)| *key == name && *is_given);
        if self.console_oidc_issuer.is_none() {
            return match given.iter().find(|(_, is_given)| *is_given) {
                Some((key, _)) => Err((key, needs("AGENT_AUTH_CONSOLE_OIDC_ISSUER"))),
                None => Ok(()),
            };
        }
        if self.console == "off" {
            return Err(("console_oidc_issuer", needs("AGENT_AUTH_CONSOLE=on")));
        }
        for key in ["console_oidc_client_id", "console_oidc_client_secret"] {
            if !is_given(key) {
                return Err((key, "required with AGENT_AUTH_CONSOLE_OIDC_ISSUER: what the provider gave you".into()));
            }
        }
        if !is_given("console_oidc_admin_groups") && !is_given("console_oidc_viewer_groups") {
            let problem =
                "without any group nobody could sign in; name one here or in AGENT_AUTH_CONSOLE_OIDC_VIEWER_GROUPS";
            return Err(("console_oidc_admin_groups", problem.into()));
        }
        for (key, other) in [
            ("console_oidc_organization", "console_oidc_workspace"),
            ("console_oidc_workspace", "console_oidc_organization"),
        ] {
            if is_given(key) && !is_given(other) {
                return Err((other, format!("required with AGENT_AUTH_{}", key.to_uppercase())));
            }
        }
        if !self.console_oidc_scopes.split(' ').any(|scope| scope == "openid") {
            return Err((
                "console_oidc_scopes",
                "expected `openid` among the scopes, which are separated by spaces".into(),
            ));
        }
        if self.console_oidc_groups_claim.trim().is_empty() {
            return Err(("console_oidc_groups_claim", "expected the name of a claim, such as `groups`".into()));
        }
        Ok(())
    }
}

fn needs(other: &str) -> String {
    format!("has no effect without {other}; set that, or remove this setting")
}

fn has_entry(list: &str) -> bool {
    list.split(',').any(|entry| !entry.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Settings {
        Settings {
            console_oidc_issuer: Some("https://id.example".into()),
            console_oidc_client_id: Some("console".into()),
            console_oidc_client_secret: Some("secret".into()),
            console_oidc_admin_groups: "ops".into(),
            ..Settings::default()
        }
    }

    fn refused(settings: &Settings) -> &'static str {
        settings.check_single_sign_on().unwrap_err().0
    }

    #[test]
    fn the_settings_are_of_use_together() {
        assert_eq!(complete().check_single_sign_on(), Ok(()));
        assert_eq!(Settings::default().check_single_sign_on(), Ok(()));
        let alone = Settings { console_oidc_issuer: None, ..complete() };
        assert_eq!(refused(&alone), "console_oidc_client_id");
        let viewers = Settings { console_oidc_viewer_groups: "staff".into(), ..Settings::default() };
        assert_eq!(refused(&viewers), "console_oidc_viewer_groups");
        assert_eq!(refused(&Settings { console: "off".into(), ..complete() }), "console_oidc_issuer");
        let no_secret = Settings { console_oidc_client_secret: None, ..complete() };
        assert_eq!(refused(&no_secret), "console_oidc_client_secret");
        let nobody = Settings { console_oidc_admin_groups: " , ".into(), ..complete() };
        assert_eq!(refused(&nobody), "console_oidc_admin_groups");
        let half = Settings { console_oidc_workspace: Some("w".into()), ..complete() };
        assert_eq!(refused(&half), "console_oidc_organization");
        let scopes = Settings { console_oidc_scopes: "profile".into(), ..complete() };
        assert_eq!(refused(&scopes), "console_oidc_scopes");
    }
}
