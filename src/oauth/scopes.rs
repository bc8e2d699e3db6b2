//! Which scopes a grant covers: what a provider says it granted, and what that means in its own names.
//! Owns: what a scope is, and how scopes that include each other, or have two names, are counted.
//! Must not know: which provider has such scopes, or whether a token is good enough for anybody.

use crate::model::quirks::Quirks;

/// Scopes that request a kind of response and no rights; providers do not list them among those they granted.
const NO_RIGHTS: [&str; 4] = ["openid", "offline_access", "offline.access", "refresh_token"];

const SCOPE_MAX: usize = 512;

/// Whether the text is one scope: visible ASCII without `"` and `\` (RFC 6749 section 3.3).
#[must_use]
pub fn is_scope(text: &str) -> bool {
    (1..=SCOPE_MAX).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// What a grant covers, given the scopes that the provider says it granted and those that were requested. Without this an
/// agent that requests a scope that another includes would be sent to consent again and again.
#[must_use]
pub fn covered(granted: Vec<String>, requested: &[String], quirks: &Quirks) -> Vec<String> {
    let mut covered = granted;
    let add = |scope: &String, to: &mut Vec<String>| {
        if !to.contains(scope) {
            to.push(scope.clone());
        }
    };
    for scope in requested.iter().filter(|scope| NO_RIGHTS.contains(&scope.as_str())) {
        add(scope, &mut covered);
    }
    let mut next = 0;
    while let Some(scope) = covered.get(next) {
        for included in quirks.included_scopes.get(scope).into_iter().flatten() {
            add(included, &mut covered);
        }
        next += 1;
    }
    if let Some(prefix) = &quirks.scope_prefix {
        for scope in requested {
            let twin = scope.strip_prefix(prefix).map_or_else(|| format!("{prefix}{scope}"), ToOwned::to_owned);
            if covered.contains(&twin) {
                add(scope, &mut covered);
            }
        }
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::Catalog,
        model::{client::Client, provider::example},
    };

    fn covers(token_url: &str, granted: &[&str], asked: &[&str]) -> bool {
        let own = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
        let client = Client { token_url: token_url.to_owned(), ..example().client };
        let catalog = Catalog::load(None).unwrap();
        let covered = covered(own(granted), &own(asked), catalog.quirks_of(&client));
        asked.iter().all(|scope| covered.iter().any(|there| there == scope))
    }

    #[test]
    fn names_that_stand_for_each_other_are_known() {
        let (google, github, microsoft) = (
            "https://oauth2.googleapis.com/token",
            "https://github.com/login/oauth/access_token",
            "https://login.microsoftonline.com/common/oauth2/v2.0/token",
        );
        let userinfo = "https://www.googleapis.com/auth/userinfo.email";
        assert!(covers(google, &[userinfo, "openid"], &["email", "openid"]));
        assert!(covers(github, &["user"], &["user", "user:email"]));
        assert!(covers(github, &["admin:org"], &["read:org"]));
        assert!(covers(microsoft, &["https://graph.microsoft.com/User.Read"], &["User.Read", "offline_access"]));
        assert!(covers(microsoft, &["User.Read"], &["https://graph.microsoft.com/User.Read"]));
    }

    #[test]
    fn a_scope_that_was_not_granted_is_not_covered() {
        assert!(!covers("https://p.example/token", &["read"], &["read", "write"]));
        assert!(!covers("https://p.example/token", &["user"], &["user:email"]));
        assert!(!covers("https://github.com/login/oauth/access_token", &["public_repo"], &["repo"]));
        assert!(!covers("https://oauth2.googleapis.com/token", &["openid"], &["email"]));
    }
}
