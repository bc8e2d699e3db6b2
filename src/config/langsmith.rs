//! The settings of `IDENTITY=langsmith`, which are of no use without it.
//! Owns: which of them need which.
//! Must not know: LangSmith.

use super::Settings;

/// The setting that is wrong, and what to do.
type Problem = (&'static str, &'static str);

impl Settings {
    /// Checks how callers are identified.
    pub(super) fn check_langsmith(&self) -> Result<(), Problem> {
        for (key, value, expected, problem) in [
            ("identity", &self.identity, &["api-key", "langsmith"][..], "expected `api-key` or `langsmith`"),
            ("langsmith_role", &self.langsmith_role, &["admin", "agent"], "expected `admin` or `agent`"),
            (
                "console_langsmith_role",
                &self.console_langsmith_role,
                &["off", "viewer", "admin"],
                "expected `off`, `viewer` or `admin`",
            ),
        ] {
            if !expected.contains(&value.as_str()) {
                return Err((key, problem));
            }
        }
        let signs_in = self.console_langsmith_role != "off";
        let given = [
            ("langsmith_endpoint", self.langsmith_endpoint.is_some()),
            ("langsmith_tenant_ids", self.langsmith_tenant_ids.is_some()),
            ("langsmith_role", self.langsmith_role != "admin"),
            ("console_langsmith_role", signs_in),
        ];
        if self.identity != "langsmith" {
            let problem = "has no effect without AGENT_AUTH_IDENTITY=langsmith; set that, or remove this setting";
            let given = given.iter().find(|(_, is_given)| *is_given);
            return given.map_or(Ok(()), |(key, _)| Err((*key, problem)));
        }
        if self.langsmith_endpoint.is_none() {
            let example = "required with AGENT_AUTH_IDENTITY=langsmith, e.g. https://api.smith.langchain.com";
            return Err(("langsmith_endpoint", example));
        }
        if signs_in && self.console == "off" {
            let problem = "has no effect without AGENT_AUTH_CONSOLE=on; set that, or remove this setting";
            return Err(("console_langsmith_role", problem));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Settings {
        Settings {
            identity: "langsmith".into(),
            langsmith_endpoint: Some("https://langsmith.example/api/v1".into()),
            console_langsmith_role: "viewer".into(),
            ..Settings::default()
        }
    }

    fn refused(settings: &Settings) -> &'static str {
        settings.check_langsmith().unwrap_err().0
    }

    #[test]
    fn langsmiths_users_sign_in_only_where_langsmith_identifies_callers_and_there_is_a_console() {
        assert_eq!((complete().check_langsmith(), Settings::default().check_langsmith()), (Ok(()), Ok(())));
        let without = Settings { identity: "api-key".into(), langsmith_endpoint: None, ..complete() };
        assert_eq!(refused(&without), "console_langsmith_role");
        assert_eq!(refused(&Settings { console: "off".into(), ..complete() }), "console_langsmith_role");
        for wrong in ["agent", "on", "Admin", ""] {
            let settings = Settings { console_langsmith_role: wrong.into(), ..complete() };
            assert_eq!(refused(&settings), "console_langsmith_role", "{wrong}");
        }
        assert_eq!(refused(&Settings { langsmith_endpoint: None, ..complete() }), "langsmith_endpoint");
    }
}
