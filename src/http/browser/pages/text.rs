//! Texts of others, cleaned and cut for our pages.
//! Owns which characters remain.
//! Must not know HTML: the templates escape.

/// How much of the name of a provider is shown.
pub(in crate::http) const PROVIDER_CHARS: usize = 80;
/// How much of the name of a person, an agent or an account is shown.
pub(in crate::http) const PERSON_CHARS: usize = 120;

/// `text` on one line, without characters that hide or reorder what a reader sees, in at most `limit` characters.
/// `None` if nothing remains.
pub(in crate::http) fn cleaned(text: &str, limit: usize) -> Option<String> {
    let mut clean = String::new();
    let mut length = 0;
    let mut gap = false;
    for character in text.chars() {
        if character.is_whitespace() {
            gap = length > 0;
            continue;
        }
        if character.is_control() || is_invisible(character) {
            continue;
        }
        let needed = 1 + usize::from(gap);
        if length + needed > limit {
            // The last character is replaced by the ellipsis, to stay within the limit.
            if length == limit {
                clean.pop();
            }
            clean.truncate(clean.trim_end().len());
            clean.push('…');
            break;
        }
        if gap {
            clean.push(' ');
            gap = false;
        }
        clean.push(character);
        length += needed;
    }
    (!clean.is_empty()).then_some(clean)
}

/// True when an OAuth `error` is a plain code. RFC 6749 would allow whole sentences; the codes in use are words.
pub(in crate::http) fn is_error_code(error: &str) -> bool {
    !error.is_empty() && error.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// Directional marks, embeddings, overrides and isolates (Unicode UAX 9), zero-width and tag characters.
/// The zero-width joiners stay: scripts and emoji need them.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{061C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}
