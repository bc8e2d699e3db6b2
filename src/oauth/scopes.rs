//! Which scopes a grant covers: what a provider says it granted, and what that means in its own names.
//! Owns: names that stand for each other or include each other, as data.
//! Must not know: whether a token is good enough for anybody.

use url::Url;

/// Scopes that ask for a kind of answer and not for rights; providers do not tell that they granted them.
const ASKS_FOR_AN_ANSWER: [&str; 4] = ["openid", "offline_access", "offline.access", "refresh_token"];

/// At the token endpoint's host: who has the one scope has the others.
const INCLUDED: &[(&str, &str, &[&str])] = &[
    ("oauth2.googleapis.com", "https://www.googleapis.com/auth/userinfo.email", &["email"]),
    ("oauth2.googleapis.com", "https://www.googleapis.com/auth/userinfo.profile", &["profile"]),
    ("github.com", "repo", &["repo:status", "repo_deployment", "public_repo", "repo:invite", "security_events"]),
    ("github.com", "user", &["read:user", "user:email", "user:follow"]),
    ("github.com", "admin:org", &["write:org", "read:org"]),
    ("github.com", "write:org", &["read:org"]),
    ("github.com", "admin:repo_hook", &["write:repo_hook", "read:repo_hook"]),
    ("github.com", "write:repo_hook", &["read:repo_hook"]),
    ("github.com", "admin:public_key", &["write:public_key", "read:public_key"]),
    ("github.com", "write:public_key", &["read:public_key"]),
    ("github.com", "write:packages", &["read:packages"]),
    ("github.com", "project", &["read:project"]),
    ("github.com", "write:discussion", &["read:discussion"]),
];

/// Microsoft Graph's scopes are asked for and told with or without this.
const GRAPH: &str = "https://graph.microsoft.com/";

/// What a grant covers, given what the provider said and what was asked for. Without this an agent that asks for
/// `email` at Google, or for `user` and `user:email` at GitHub, would be sent to consent for ever.
#[must_use]
pub fn covered(granted: Vec<String>, asked: &[String], token_url: &str) -> Vec<String> {
    let host = Url::parse(token_url).ok().and_then(|url| url.host_str().map(ToOwned::to_owned)).unwrap_or_default();
    let mut covered = granted;
    let add = |scope: &str, to: &mut Vec<String>| {
        if !to.iter().any(|there| there == scope) {
            to.push(scope.to_owned());
        }
    };
    for scope in asked.iter().filter(|scope| ASKS_FOR_AN_ANSWER.contains(&scope.as_str())) {
        add(scope, &mut covered);
    }
    for (at, has, others) in INCLUDED {
        if *at == host && covered.iter().any(|scope| scope == has) {
            for other in *others {
                add(other, &mut covered);
            }
        }
    }
    if host == "login.microsoftonline.com" {
        for scope in asked {
            let twin = scope.strip_prefix(GRAPH).map_or_else(|| format!("{GRAPH}{scope}"), ToOwned::to_owned);
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

    fn covers(token_url: &str, granted: &[&str], asked: &[&str]) -> bool {
        let own = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
        let covered = covered(own(granted), &own(asked), token_url);
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
