//! Redaction: the secrets of one request, taken out of whatever its response says.
//! Owns: in which forms a provider may repeat a secret, and the cleaning of a provider's text before it is kept or shown.
//! Must not know: what is requested, or where the text goes.

use std::{collections::HashSet, ops::Range};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::client_authentication::basic_credentials;
use crate::model::client::Client;

const REDACTED: &str = "[redacted]";
/// A shorter value is no secret; it would be found in ordinary words.
const SECRET_MIN: usize = 4;
/// A field with a shorter value in it is kept: that is chance.
const REPEATED_MIN: usize = 8;
/// Providers cut what they repeat. So long a piece of a secret counts as the secret.
const PIECE: usize = 16;
/// In a text, also so long a beginning or end of one counts, if it has letters and digits, which words and numbers have not.
const END_MIN: usize = 8;

/// What one request sent, and its response brought, that must not be read anywhere else.
#[derive(Default)]
pub struct Redaction {
    /// In lower case: percent-encoding is written both ways.
    forms: Vec<Zeroizing<Vec<u8>>>,
}

impl Redaction {
    /// Takes out these secrets.
    #[must_use]
    pub fn of<'s>(secrets: impl IntoIterator<Item = &'s SecretString>) -> Self {
        let mut redaction = Self::default();
        secrets.into_iter().for_each(|secret| redaction.add(secret.expose_secret()));
        redaction
    }

    /// Takes out what our client authenticates with.
    pub(super) fn of_client(client: &Client) -> Self {
        let mut redaction = Self::of(&client.secret);
        if let Some(secret) = &client.secret {
            let unencoded = Zeroizing::new(format!("{}:{}", client.id, secret.expose_secret()));
            redaction.add_base64(&unencoded);
            redaction.add_base64(&basic_credentials(&client.id, secret));
        }
        redaction
    }

    /// Takes out this one, too: as it is, percent-encoded, and in base64.
    pub(super) fn add(&mut self, secret: &str) {
        let encoded = Zeroizing::new(form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>());
        self.add_form(&Zeroizing::new(encoded.replace('+', "%20")));
        self.add_form(&encoded);
        self.add_form(secret);
        self.add_base64(secret);
    }

    fn add_base64(&mut self, secret: &str) {
        self.add_form(&Zeroizing::new(STANDARD_NO_PAD.encode(secret)));
        self.add_form(&Zeroizing::new(URL_SAFE_NO_PAD.encode(secret)));
    }

    fn add_form(&mut self, form: &str) {
        let form = Zeroizing::new(form.as_bytes().to_ascii_lowercase());
        if form.len() >= SECRET_MIN && !self.forms.contains(&form) {
            self.forms.push(form);
        }
    }

    /// What others wrote, without the secrets and without control characters, and cut: it goes into pages, logs,
    /// responses and the database.
    #[must_use]
    pub fn printable(&self, text: &str, max: usize) -> String {
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        let mut secret = self.bytes_of_secrets(&text, SECRET_MIN);
        self.mark_ends(&text, &mut secret);
        let (mut printable, mut is_inside) = (String::new(), false);
        for (at, c) in text.char_indices() {
            let is_secret = (at..at + c.len_utf8()).any(|byte| secret.get(byte) == Some(&true));
            match (is_secret, is_inside) {
                (true, false) => printable.push_str(REDACTED),
                (true, true) => {}
                (false, _) => printable.push(c),
            }
            is_inside = is_secret;
        }
        // Last, so that no beginning of a secret is left at the cut.
        printable.chars().take(max).collect()
    }

    /// True when the text repeats one of the secrets: not cleaned but left out, it is meant for programs.
    pub(super) fn is_repeated_in(&self, text: &str) -> bool {
        self.bytes_of_secrets(text, REPEATED_MIN).contains(&true)
    }

    /// For each byte of the text, whether it belongs to a secret of `min` bytes or more, or to a piece of one.
    fn bytes_of_secrets(&self, text: &str, min: usize) -> Vec<bool> {
        let text = Zeroizing::new(text.as_bytes().to_ascii_lowercase());
        let mut secret = vec![false; text.len()];
        for form in self.forms.iter().filter(|form| form.len() >= min) {
            let length = form.len().min(PIECE);
            let pieces: HashSet<&[u8]> = form.windows(length).collect();
            for (at, window) in text.windows(length).enumerate() {
                if pieces.contains(window) {
                    secret[at..at + length].fill(true);
                }
            }
        }
        secret
    }

    /// Marks the bytes of the text that begin or end a secret.
    fn mark_ends(&self, text: &str, secret: &mut [bool]) {
        let text = Zeroizing::new(text.as_bytes().to_ascii_lowercase());
        let mut mark = |range: Range<usize>| {
            let piece = &text[range.clone()];
            if piece.iter().any(u8::is_ascii_digit) && piece.iter().any(u8::is_ascii_alphabetic) {
                secret[range].fill(true);
            }
        };
        for form in &self.forms {
            let (Some(first), Some(last)) = (form.first_chunk::<END_MIN>(), form.last_chunk::<END_MIN>()) else {
                continue;
            };
            for (at, window) in text.windows(END_MIN).enumerate() {
                if window == first {
                    let same = text[at..].iter().zip(form.iter()).take_while(|(a, b)| a == b).count();
                    mark(at..at + same);
                }
                if window == last {
                    let end = at + END_MIN;
                    let same = text[..end].iter().rev().zip(form.iter().rev()).take_while(|(a, b)| a == b).count();
                    mark(end - same..end);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::model::provider::example;

    const SECRET: &str = "s3cret/with+odd characters=ü";

    fn redacted(text: &str) -> String {
        Redaction::of(&[SecretString::from(SECRET), SecretString::from("hunter2")]).printable(text, 300)
    }

    #[test]
    fn a_secret_is_taken_out_in_every_form() {
        let encoded: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        for form in [
            SECRET.to_owned(),
            SECRET.to_uppercase().replace('Ü', "ü"),
            encoded.to_lowercase(),
            encoded.replace('+', "%20"),
            encoded,
            STANDARD_NO_PAD.encode(SECRET),
            URL_SAFE_NO_PAD.encode(SECRET),
            "hunter2".to_owned(),
            "hun\nter2".to_owned(),
        ] {
            assert_eq!(redacted(&format!("the value '{form}' is wrong")), "the value '[redacted]' is wrong", "{form}");
        }
        assert_eq!(redacted(&STANDARD.encode(SECRET)), "[redacted]=");
    }

    #[test]
    fn what_a_client_sends_as_basic_is_taken_out_without_its_id() {
        let client = Client { id: "the client/1".into(), secret: Some("its:secret".into()), ..example().client };
        let redaction = Redaction::of_client(&client);
        for credentials in ["the client/1:its:secret", "the+client%2F1:its%3Asecret"] {
            let text = format!("client the client/1 sent {}", STANDARD_NO_PAD.encode(credentials));
            assert_eq!(redaction.printable(&text, 300), "client the client/1 sent [redacted]");
        }
    }

    #[test]
    fn a_secret_that_a_provider_cut_is_taken_out() {
        assert_eq!(redacted(&format!("no token {}...", &SECRET[..20])), "no token [redacted]...");
        assert_eq!(redacted(&format!("no token {}", &SECRET[4..22])), "no token [redacted]");
    }

    #[test]
    fn also_a_short_beginning_or_end_of_a_secret_is_taken_out_but_no_word() {
        let secret = "github_pat_11ABCdef9876543210zyxWVUtoken-refresh";
        let redaction = Redaction::of([&SecretString::from(secret)]);
        for (text, shown) in [
            ("bad token github_pat_11AB...", "bad token [redacted]..."),
            ("bad token GITHUB_PAT_11ab.", "bad token [redacted]."),
            ("it ends with 0zyxWVUtoken-refresh", "it ends with [redacted]"),
            ("github_pat_ tokens need a token-refresh", "github_pat_ tokens need a token-refresh"),
            ("the token 11ABCde", "the token 11ABCde"),
        ] {
            assert_eq!(redaction.printable(text, 300), shown);
        }
        let number = Redaction::of([&SecretString::from("1234567890|a-secret-of-an-app")]);
        assert_eq!(number.printable("app 1234567890 is disabled", 300), "app 1234567890 is disabled");
        assert!(!number.is_repeated_in("1234567890"));
    }

    #[test]
    fn the_cut_of_a_long_text_leaves_no_part_of_a_secret() {
        let text = format!("{}{SECRET}", "x".repeat(295));
        assert_eq!(redacted(&text), format!("{}[reda", "x".repeat(295)));
    }

    #[test]
    fn other_text_is_left_as_it_is() {
        for text in ["", "Invalid refresh token.", "s3cret", "ünïcödé ✓"] {
            assert_eq!(redacted(text), text);
        }
        let short = Redaction::of(&[SecretString::from("abc"), SecretString::from("")]);
        assert_eq!(short.printable("abc\0 def", 300), "abc def");
        assert!(!Redaction::of(&[SecretString::from("read")]).is_repeated_in("read write"));
    }
}
