//! The random secrets of the demo.
//! Owns: the one that a data folder keeps.
//! Must not know: what they are for.

use std::{fs, io, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

use crate::broker::open::private_file;

/// 256 random bits, base64url.
pub(super) fn random_secret() -> SecretString {
    let mut bytes = [0_u8; 32];
    rand::fill(&mut bytes);
    SecretString::from(URL_SAFE_NO_PAD.encode(bytes))
}

/// The secret of the sample provider's clients. In a folder that is kept, it is that of the earlier run, so that the grants
/// of that run can be revoked.
pub(super) fn kept_secret(folder: &Path) -> io::Result<SecretString> {
    let path = folder.join("sample-provider-secret");
    let kept = match fs::read_to_string(&path) {
        Ok(kept) => kept,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    if !kept.trim().is_empty() {
        return Ok(kept.trim().into());
    }
    let secret = random_secret();
    io::Write::write_all(&mut private_file(&path)?, secret.expose_secret().as_bytes())?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_folder_that_is_kept_keeps_the_secret() {
        let folder = TempDir::new().unwrap();
        let first = kept_secret(folder.path()).unwrap();
        assert_eq!(kept_secret(folder.path()).unwrap().expose_secret(), first.expose_secret());
    }
}
