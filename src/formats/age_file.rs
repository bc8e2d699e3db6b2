//! Files that are encrypted with age (age-encryption.org/v1).
//! Owns: which recipients and identities are read: X25519, and no passphrases.
//! Must not know: what is in the files.

use std::io::{BufRead, Read, Write};

use age::{DecryptError, Decryptor, Encryptor, Identity, stream::StreamWriter, x25519};
use anyhow::{Context, anyhow, bail};

/// How such a file begins.
const MAGIC: &[u8] = b"age-encryption.org/v1";

/// Reads the recipient that its owner has published: `age1...`.
///
/// # Errors
/// What is wrong with it. A secret key is not repeated.
pub fn recipient(text: &str) -> Result<x25519::Recipient, String> {
    if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
        return Err("this is a secret key; pass the recipient that belongs to it, which begins with age1".into());
    }
    let expected = "expected a recipient such as age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    text.parse().map_err(|_| format!("{expected}; `age-keygen` makes one"))
}

/// Encrypts what is written to these recipients. It ends with `finish`: without it, the file counts as cut off.
///
/// # Errors
/// When there is no recipient, or nothing can be written.
pub fn encrypt<W: Write>(recipients: &[x25519::Recipient], output: W) -> anyhow::Result<StreamWriter<W>> {
    let encryptor = Encryptor::with_recipients(recipients.iter().map(|recipient| recipient as _))?;
    encryptor.wrap_output(output).context("cannot write the export")
}

/// The identities in a file of `age-keygen`: one secret key a line, and comments.
///
/// # Errors
/// The number of the line that is not an identity. Its text is not repeated.
pub fn identities(text: &str) -> anyhow::Result<Vec<x25519::Identity>> {
    let lines = text.lines().map(str::trim).zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    let identities = lines.map(|(line, number)| {
        line.parse().map_err(|_| anyhow!("line {number} is not an identity, which begins with AGE-SECRET-KEY-1"))
    });
    let identities: Vec<x25519::Identity> = identities.collect::<Result<_, _>>()?;
    if identities.is_empty() {
        bail!("there is no identity in it; `age-keygen` makes such a file");
    }
    Ok(identities)
}

/// What is in the file: decrypted if there are identities, as it is otherwise.
///
/// # Errors
/// When the file is encrypted and there is no identity, or not the right one, or the other way round.
pub fn open(mut input: Box<dyn BufRead>, identities: &[x25519::Identity]) -> anyhow::Result<Box<dyn Read>> {
    let is_encrypted = input.fill_buf().context("it cannot be read")?.starts_with(MAGIC);
    match (is_encrypted, identities) {
        (false, []) => Ok(Box::new(input)),
        (true, []) => bail!("it is encrypted: add --identity FILE"),
        (false, _) => bail!("it is not encrypted with age: leave --identity out"),
        (true, identities) => {
            let decryptor = Decryptor::new_buffered(input).map_err(unreadable)?;
            let decrypted = decryptor.decrypt(identities.iter().map(|identity| identity as &dyn Identity));
            Ok(Box::new(decrypted.map_err(unreadable)?))
        }
    }
}

fn unreadable(error: DecryptError) -> anyhow::Error {
    match error {
        DecryptError::NoMatchingKeys => anyhow!("it is encrypted to somebody else: no identity fits"),
        error => anyhow!("it cannot be decrypted: {error}"),
    }
}
