//! The colours that follow from the brand's: on buttons, in links, and on what they are written on.
//! Owns: their contrast (WCAG 2.2, sections 1.4.3 and 1.4.11).
//! Must not know: which elements have them.

/// Red, green and blue.
type Rgb = [u8; 3];

const BLACK: Rgb = [0, 0, 0];
const WHITE: Rgb = [255, 255, 255];
/// How much text must differ from what it is written on ...
const TEXT: f64 = 4.5;
/// ... and the area of a button from what is around it.
const AREA: f64 = 3.0;
/// By how much a colour is moved at a time to reach that.
const STEP: f64 = 0.04;
/// How far a button's colour moves when it is pointed at.
const HOVER: f64 = 0.14;

/// One of the two colour schemes of the stylesheets.
struct Scheme {
    /// What is behind links: of `--ground`, `--card`, `--inset` and `--accent-soft` the one that is nearest to their colour.
    behind: Rgb,
    /// Where colours are moved to be seen.
    away: Rgb,
}

const LIGHT: Scheme = Scheme { behind: [0xe7, 0xec, 0xfc], away: BLACK };
const DARK: Scheme = Scheme { behind: [0x1f, 0x2a, 0x4a], away: WHITE };

/// The rules that give a stylesheet the brand's colour.
pub(super) fn rules(brand: Rgb) -> String {
    let (light, dark) = (properties(brand, &LIGHT), properties(brand, &DARK));
    format!(":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n")
}

fn properties(brand: Rgb, scheme: &Scheme) -> String {
    let fill = moved(brand, scheme, AREA);
    let on_fill = text_on(fill);
    // The hover moves away from the text, which stays readable.
    let strong = mixed(fill, if on_fill == BLACK { WHITE } else { BLACK }, HOVER);
    let accent = moved(brand, scheme, TEXT);
    let [accent, fill, strong, on_fill] = [accent, fill, strong, on_fill].map(hex);
    format!("--accent:{accent};--fill:{fill};--fill-strong:{strong};--on-fill:{on_fill}")
}

/// The colour, moved towards black or white until it has that contrast with what is behind it.
fn moved(color: Rgb, scheme: &Scheme, contrast_min: f64) -> Rgb {
    let mut share = 0.0;
    loop {
        let moved = mixed(color, scheme.away, share);
        if share >= 1.0 || contrast(moved, scheme.behind) >= contrast_min {
            return moved;
        }
        share += STEP;
    }
}

/// Black or white, whichever is easier to read on it.
fn text_on(color: Rgb) -> Rgb {
    if contrast(BLACK, color) >= contrast(WHITE, color) { BLACK } else { WHITE }
}

/// The contrast of two colours (WCAG 2.2), from 1 to 21.
fn contrast(a: Rgb, b: Rgb) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// The relative luminance (WCAG 2.2), from 0 to 1.
fn luminance(color: Rgb) -> f64 {
    let [red, green, blue] = color.map(|part| {
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

/// `color`, with that share of `other` in it.
fn mixed(color: Rgb, other: Rgb, share: f64) -> Rgb {
    let share = share.clamp(0.0, 1.0);
    let mut mixed = color;
    for (part, other) in mixed.iter_mut().zip(other) {
        let value = f64::from(*part) * (1.0 - share) + f64::from(other) * share;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of two bytes is a byte")]
        let byte = value.round() as u8;
        *part = byte;
    }
    mixed
}

fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrasts_are_those_of_wcag() {
        assert!((contrast(BLACK, WHITE) - 21.0).abs() < 0.001);
        assert!((contrast([0x77, 0x77, 0x77], WHITE) - 4.48).abs() < 0.01);
        assert_eq!((text_on([0xff, 0xd4, 0]), text_on([0, 0x33, 0x99])), (BLACK, WHITE));
    }

    #[test]
    fn a_colour_that_can_be_read_is_kept() {
        assert_eq!(
            properties([0x0b, 0x57, 0x2b], &LIGHT),
            "--accent:#0b572b;--fill:#0b572b;--fill-strong:#094b25;--on-fill:#ffffff"
        );
    }

    #[test]
    fn every_colour_can_be_read_and_seen_in_light_and_in_dark() {
        for red in (0..=255).step_by(15) {
            for green in (0..=255).step_by(15) {
                for blue in (0..=255).step_by(15) {
                    for scheme in [&LIGHT, &DARK] {
                        let color = [red, green, blue];
                        let fill = moved(color, scheme, AREA);
                        let strong = mixed(fill, if text_on(fill) == BLACK { WHITE } else { BLACK }, HOVER);
                        assert!(contrast(moved(color, scheme, TEXT), scheme.behind) >= TEXT, "{color:?}");
                        assert!(contrast(fill, scheme.behind) >= AREA, "{color:?}");
                        assert!(contrast(text_on(fill), fill) >= TEXT, "{color:?}");
                        assert!(contrast(text_on(fill), strong) >= TEXT, "{color:?}");
                    }
                }
            }
        }
    }
}
