//! Whose pages people see: the operator's name, logo, colour and addresses, and the origins that may embed them.
//! Owns: reading the logo, the colours that follow from the brand's, and the stylesheets with them.
//! Must not know: what a page says, or how it is laid out.

mod color;

use std::{fs::File, io::Read, path::Path};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest, Sha256};

use crate::config::{
    Settings,
    pages::{origins, rgb},
};

/// The largest logo, in bytes.
const LOGO_MAX: u64 = 256 * 1024;
/// What the pages are called without a name of the operator's.
const UNNAMED: &str = "agent-auth";

/// The brand, as the settings say.
pub struct Brand {
    /// The name of the application or its operator.
    pub name: String,
    /// Whether the operator gave it; without, the pages are those of agent-auth.
    pub is_named: bool,
    /// The logo.
    pub logo: Option<Logo>,
    /// Where people get help.
    pub support_url: Option<String>,
    /// The page about personal data.
    pub privacy_url: Option<String>,
    /// The origins whose pages may embed those of a person's connections.
    pub embedders: Vec<String>,
    /// How the pages of a consent look.
    pub consent_style: Style,
    /// How the pages of a person's connections look.
    pub people_style: Style,
}

/// A logo.
pub struct Logo {
    /// Its media type.
    pub media_type: &'static str,
    /// The file.
    pub bytes: bytes::Bytes,
}

/// A stylesheet that pages inline.
pub struct Style {
    /// The sheet.
    pub text: String,
    /// Its CSP source expression (CSP Level 3, section 2.3.1), which admits exactly these bytes.
    pub source: String,
}

impl Brand {
    /// The brand of these settings.
    ///
    /// # Errors
    /// What is wrong with the logo.
    pub fn open(settings: &Settings) -> Result<Self, String> {
        let colors = settings.brand_color.as_deref().and_then(rgb).map(color::rules).unwrap_or_default();
        let style = |sheet: &str| Style::of(format!("{sheet}{colors}"));
        Ok(Self {
            is_named: settings.brand_name.is_some(),
            name: settings.brand_name.clone().unwrap_or_else(|| UNNAMED.to_owned()),
            logo: settings.brand_logo.as_deref().map(Logo::read).transpose()?,
            support_url: settings.support_url.clone(),
            privacy_url: settings.privacy_url.clone(),
            // The settings were checked.
            embedders: origins(&settings.frame_ancestors).unwrap_or_default(),
            consent_style: style(include_str!("browser/pages/style.css")),
            people_style: style(concat!(include_str!("shared.css"), include_str!("people/style.css"))),
        })
    }
}

impl Style {
    fn of(text: String) -> Self {
        let source = format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(&text)));
        Self { text, source }
    }
}

impl Logo {
    fn read(path: &Path) -> Result<Self, String> {
        let unreadable = |error| format!("cannot read {}: {error}", path.display());
        let mut bytes = Vec::new();
        File::open(path).map_err(unreadable)?.take(LOGO_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > LOGO_MAX {
            return Err(format!("{} is larger than {} KiB; save it smaller", path.display(), LOGO_MAX / 1024));
        }
        let media_type = media_type(&bytes)
            .ok_or_else(|| format!("{} is not a PNG, SVG or WebP image; save it as one of them", path.display()))?;
        Ok(Self { media_type, bytes: bytes.into() })
    }
}

/// The media type by the first bytes; the name of a file proves nothing.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some("image/png");
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some("image/webp");
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.trim_start_matches('\u{FEFF}').trim_start();
    (text.starts_with('<') && text.contains("<svg")).then_some("image/svg+xml")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Logo, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        Logo::read(file.path())
    }

    #[test]
    fn a_logo_is_recognized_by_its_content() {
        for (bytes, media_type) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], "image/png"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
            (b"<?xml version=\"1.0\"?>\n<!-- logo -->\n<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "image/svg+xml"),
            (b"\xef\xbb\xbf<svg/>", "image/svg+xml"),
        ] {
            assert_eq!(read(bytes).ok().map(|logo| logo.media_type), Some(media_type));
        }
        for wrong in [&b""[..], b"GIF89a", b"RIFF\x10\0\0\0WAVE", b"<html>", b"\xff\xd8\xff", b"svg <svg"] {
            assert!(read(wrong).err().unwrap().ends_with("is not a PNG, SVG or WebP image; save it as one of them"));
        }
    }

    #[test]
    fn a_logo_that_is_too_large_or_missing_is_refused() {
        let large = [b"<svg>", &vec![b' '; 256 * 1024][..]].concat();
        assert!(read(&large).err().unwrap().ends_with("is larger than 256 KiB; save it smaller"));
        assert!(read(&large[..256 * 1024]).is_ok());
        assert!(Logo::read(Path::new("/nowhere/logo.png")).err().unwrap().starts_with("cannot read /nowhere/logo.png"));
    }

    #[test]
    fn a_colour_changes_both_stylesheets_and_their_hashes() {
        let of = |color: Option<&str>| {
            Brand::open(&Settings { brand_color: color.map(ToOwned::to_owned), ..Settings::default() }).unwrap()
        };
        let (plain, red) = (of(None), of(Some("#b00020")));
        assert_eq!(plain.name, "agent-auth");
        for (plain, red) in [(&plain.consent_style, &red.consent_style), (&plain.people_style, &red.people_style)] {
            assert!(red.text.starts_with(&plain.text) && red.text.contains("#b00020"), "{}", red.text);
            assert_ne!(red.source, plain.source);
            assert!(!red.text.contains("</"));
        }
    }

    #[test]
    fn the_stylesheets_have_no_left_and_no_right_so_that_every_direction_of_writing_works() {
        let brand = Brand::open(&Settings::default()).unwrap();
        for style in [&brand.consent_style.text, &brand.people_style.text] {
            for physical in ["left", "right"] {
                assert!(!style.contains(physical), "{physical} in {style}");
            }
            assert!(!style.contains('\r') && !style.contains("url(") && !style.contains("@import"));
        }
    }
}
