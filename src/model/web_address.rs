//! The text of a web address, as people and other servers write it.
//! Owns: the one rule for what is a URL here, and for what may fill a place in one.
//! Must not know: which addresses may be connected to.

use url::Url;

/// Parses an `https://` or `http://` URL with a host. The parser for browsers would repair `https:host`, `https:\\\\host`,
/// `https:///host` and surrounding spaces, and every other reader of the stored text would repair it differently, or not
/// at all: so none of them is accepted.
#[must_use]
pub fn parse(text: &str) -> Option<Url> {
    let (scheme, rest) = text.split_once("://")?;
    let is_web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    let is_clean = |c: char| !(c.is_whitespace() || c.is_control() || c == '\\');
    if !is_web || rest.starts_with('/') || !text.chars().all(is_clean) {
        return None;
    }
    Url::parse(text).ok().filter(Url::has_host)
}

/// A part of a host name or of a path, and nothing that could lead a URL elsewhere.
#[must_use]
pub fn is_part(value: &str) -> bool {
    (1..=253).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
        && !value.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_would_repair_is_not_an_address() {
        for right in
            ["https://h", "http://127.0.0.1:1/x?y=z", "HTTPS://H/", "https://[::1]/a", "https://b\u{fc}cher.example/"]
        {
            assert!(parse(right).is_some(), "{right}");
        }
        for wrong in [
            "",
            "h",
            "https:h",
            "https:/h",
            "https:///h",
            "https:\\\\h",
            "https:\\/h",
            " https://h",
            "https://h ",
            "https://h\t",
            "ht\ntps://h",
            "https://h\\@evil.example",
            "https://h/a b",
            "https://",
            "https://:80",
            "ftp://h",
            "javascript://h/%0aalert(1)",
            "\u{a0}https://h",
            "https://h/\0",
        ] {
            assert!(parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
