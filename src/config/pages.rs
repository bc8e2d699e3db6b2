//! The settings of the pages that people see: whose pages they are, and how they look.
//! Owns: which names, colours and addresses are accepted.
//! Must not know: what a page shows of them; the logo's file is read at start.

use url::{Host, Url};

use super::Settings;

/// The longest name of a brand, in characters: it is in the title of every page.
const NAME_CHARS: usize = 60;

/// A setting, and what is wrong with it.
type Problem = (&'static str, String);

impl Settings {
    pub(super) fn check_pages(&self) -> Result<(), Problem> {
        if let Some(name) = &self.brand_name
            && (name.trim() != name || name.chars().count() > NAME_CHARS || name.chars().any(char::is_control))
        {
            let problem = format!("expected a name of at most {NAME_CHARS} characters, without spaces around it");
            return Err(("brand_name", problem));
        }
        if self.brand_logo.is_some() && self.brand_name.is_none() {
            let problem =
                "needs AGENT_AUTH_BRAND_NAME, which is written beside the logo; set that, or remove this setting";
            return Err(("brand_logo", problem.to_owned()));
        }
        if let Some(color) = &self.brand_color
            && rgb(color).is_none()
        {
            return Err(("brand_color", format!("expected a colour such as #2b50cf, but found `{color}`")));
        }
        if let Some(url) = &self.support_url
            && !is_https(url)
            && !is_mail(url)
        {
            let problem =
                "expected a page or an e-mail address, such as https://example.com/help or mailto:help@example.com";
            return Err(("support_url", problem.to_owned()));
        }
        if let Some(url) = &self.privacy_url
            && !is_https(url)
        {
            return Err(("privacy_url", "expected a page, such as https://example.com/privacy".to_owned()));
        }
        origins(&self.frame_ancestors).map(drop).map_err(|problem| ("frame_ancestors", problem))
    }
}

/// The origins in a list that commas separate.
///
/// # Errors
/// The entry that is not an origin, or that cannot be trusted.
pub fn origins(list: &str) -> Result<Vec<String>, String> {
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let trusted = |entry: &str| exact_origin(entry).filter(is_trusted).map(|_| entry.to_owned());
    entries.map(|entry| trusted(entry).ok_or_else(|| not_an_origin(entry))).collect()
}

fn not_an_origin(entry: &str) -> String {
    format!(
        "`{entry}` is not an origin, such as https://app.example.com, without a path or a trailing slash, and https unless it \
         is on this machine"
    )
}

/// Exactly what a browser says of where a page comes from: scheme, host, and port if it is not the default.
#[must_use]
pub fn exact_origin(entry: &str) -> Option<Url> {
    let url = Url::parse(entry).ok()?;
    let is_exact = !entry.contains('*') && url.origin().ascii_serialization() == entry;
    (is_exact && matches!(url.scheme(), "https" | "http")).then_some(url)
}

fn is_trusted(origin: &Url) -> bool {
    let is_loopback = match origin.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    origin.scheme() == "https" || is_loopback
}

/// Red, green and blue of a colour that is written as `#rrggbb`.
#[must_use]
pub fn rgb(color: &str) -> Option<[u8; 3]> {
    let digits = color.strip_prefix('#').filter(|digits| digits.len() == 6)?;
    let part = |from: usize| {
        let pair = digits.get(from..from + 2).filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        u8::from_str_radix(pair, 16).ok()
    };
    Some([part(0)?, part(2)?, part(4)?])
}

fn is_https(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.username().is_empty() && url.password().is_none())
}

fn is_mail(text: &str) -> bool {
    let Some(address) = text.strip_prefix("mailto:") else { return false };
    let is_plain = address.chars().all(|c| c.is_ascii_alphanumeric() || "@.+-_".contains(c));
    is_plain && address.split('@').filter(|part| !part.is_empty()).count() == 2 && address.matches('@').count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&mut Settings)) -> Option<String> {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.check_pages().err().map(|(key, problem)| format!("{key}: {problem}"))
    }

    #[test]
    fn a_colour_is_six_hexadecimal_digits() {
        assert_eq!(rgb("#2b50CF"), Some([0x2b, 0x50, 0xcf]));
        for wrong in ["", "#", "2b50cf", "#2b5", "#2b50cf00", "#2b50cg", "#+b50cf", "#é0cf", "red", "#2b50cf;"] {
            assert_eq!(rgb(wrong), None, "{wrong}");
            let refused = problem(|settings| settings.brand_color = Some(wrong.to_owned())).unwrap();
            assert!(refused.starts_with("brand_color: expected a colour such as #2b50cf"), "{refused}");
        }
    }

    #[test]
    fn addresses_for_people_are_pages_or_mailboxes() {
        for right in ["https://example.com/help?from=auth", "mailto:help@example.com", "mailto:it+help@ex-ample.com"] {
            assert_eq!(problem(|settings| settings.support_url = Some(right.to_owned())), None, "{right}");
        }
        for wrong in [
            "example.com",
            "http://example.com",
            "javascript:alert(1)",
            "mailto:",
            "mailto:help",
            "mailto:a@b?cc=x@y",
            "https://a:b@c",
        ] {
            assert!(problem(|settings| settings.support_url = Some(wrong.to_owned())).is_some(), "{wrong}");
            assert!(problem(|settings| settings.privacy_url = Some(wrong.to_owned())).is_some(), "{wrong}");
        }
        assert!(problem(|settings| settings.privacy_url = Some("mailto:help@example.com".to_owned())).is_some());
        assert_eq!(problem(|settings| settings.privacy_url = Some("https://example.com/privacy".to_owned())), None);
    }

    #[test]
    fn only_exact_origins_may_embed_pages() {
        assert_eq!(origins("").unwrap(), Vec::<String>::new());
        let list =
            "https://app.example.com, http://localhost:3000,http://127.0.0.1:8000 , https://xn--bcher-kva.example";
        assert_eq!(origins(list).unwrap().len(), 4);
        for wrong in [
            "*",
            "'self'",
            "https:",
            "https://*.example.com",
            "https://app.example.com/",
            "https://app.example.com:443",
            "http://app.example.com",
            "http://localhost.example.com",
            "https://a.example; script-src *",
            "HTTPS://app.example.com",
        ] {
            let refused = problem(|settings| settings.frame_ancestors = wrong.to_owned()).unwrap();
            assert!(refused.starts_with(&format!("frame_ancestors: `{wrong}` is not an origin")), "{refused}");
        }
    }

    #[test]
    fn a_logo_has_a_name_beside_it() {
        let refused = problem(|settings| settings.brand_logo = Some("logo.svg".into())).unwrap();
        assert!(refused.contains("needs AGENT_AUTH_BRAND_NAME"), "{refused}");
        let long = "n".repeat(NAME_CHARS + 1);
        for wrong in [" Example", "Exam\nple", &long] {
            assert!(problem(|settings| settings.brand_name = Some(wrong.to_owned())).is_some(), "{wrong}");
        }
        assert_eq!(problem(|settings| settings.brand_name = Some("Bücher & Söhne".to_owned())), None);
    }
}
