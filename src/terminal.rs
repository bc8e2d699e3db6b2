//! Printing from commands.
//! Owns: standard output and standard error, and that no text of others controls the terminal or reorders what is read.
//! Must not know: what is printed.

use std::io::Write;

use anyhow::Context;

/// What takes the place of a character that is not printed.
const REPLACED: char = '\u{fffd}';

/// Prints a line, or several, on standard output and flushes it, so that a pipe sees it at once.
///
/// # Errors
/// Standard output is closed.
pub fn print(line: &str) -> anyhow::Result<()> {
    write(&cleaned(line))
}

/// Prints the columns of a row on standard output. A tab or a line break in one of them must not look like another column
/// or row.
///
/// # Errors
/// Standard output is closed.
pub fn print_row<const COLUMNS: usize>(columns: [impl AsRef<str>; COLUMNS]) -> anyhow::Result<()> {
    write(&columns.map(|column| one_line(column.as_ref())).join("\t"))
}

/// Prints JSON on standard output, with the same value: what would control a terminal is escaped. It occurs only inside of
/// strings (RFC 8259 section 7).
///
/// # Errors
/// Standard output is closed.
pub fn print_json(json: &str) -> anyhow::Result<()> {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if is_printable(character) {
            escaped.push(character);
        } else {
            let mut units = [0; 2];
            escaped.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    write(&escaped)
}

/// `text` on one line, without what would control a terminal.
#[must_use]
pub fn one_line(text: &str) -> String {
    cleaned(&text.replace(['\t', '\n', '\r'], " "))
}

fn cleaned(text: &str) -> String {
    text.chars().map(|character| if is_printable(character) { character } else { REPLACED }).collect()
}

/// False for control characters other than a tab and a line break, for directional marks, embeddings, overrides and isolates
/// (Unicode UAX 9), and for zero-width and tag characters. The zero-width joiners stay: scripts and emoji need them.
fn is_printable(character: char) -> bool {
    let is_control = character.is_control() && !matches!(character, '\t' | '\n');
    let is_invisible = matches!(character,
        '\u{061C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}');
    !is_control && !is_invisible
}

fn write(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("standard output is closed")
}

/// Prints a line for people on standard error. Standard output is for what other programs read.
///
/// # Errors
/// Standard error is closed.
pub fn explain(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stderr(), "{}", cleaned(line)).context("standard error is closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_a_terminal_or_reorders_a_line_is_replaced_and_the_rest_stays() {
        assert_eq!(
            cleaned("a\u{1b}[2Jb\u{9b}c\u{202e}d\u{2066}e\u{200b}f\rg"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}f\u{fffd}g"
        );
        for text in ["two\nlines\tand a tab", "J\u{fc}rgen \u{5d0}\u{5d1} \u{1f468}\u{200d}\u{1f469}"] {
            assert_eq!(cleaned(text), text);
        }
        assert_eq!(one_line("a\tb\nc\r\nd\u{202e}"), "a b c  d\u{fffd}");
    }
}
