//! Rows of CSV (RFC 4180), each with the lines it is on.
//! Owns: where a row and a field end, and how reading goes on after a row that is not CSV.
//! Must not know: what a column is.
//!
//! A quote that is opened and not closed makes one field of all that follows. So a row whose quotes are wrong is one line,
//! and the next line begins another row: what was swallowed is read.

use std::{collections::VecDeque, io::BufRead};

/// A longer row has a quote that is not closed: two tokens, metadata and all other fields are shorter.
const ROW_MAX: usize = 512 * 1024;

const NOT_CLOSED: &str = "a quote is opened in it and not closed; the lines after it were read as if it were not there";
const AFTER_QUOTE: &str =
    "after a quote that closes a field there is something other than a comma (inside a field, write \"\")";

/// A row.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Its first line, from 1 on.
    pub first: u64,
    /// Its last line.
    pub last: u64,
    /// Its fields without the blanks around them, or what is wrong with it.
    pub fields: Result<Vec<String>, &'static str>,
}

/// A line and its number.
type Line = (u64, Vec<u8>);

/// The rows of a text. Empty lines are no rows.
pub struct Rows<R> {
    input: R,
    lines: u64,
    /// Lines that were taken for the rest of a row and are rows of their own.
    again: VecDeque<Line>,
}

impl<R: BufRead> Rows<R> {
    /// The rows of what is read.
    pub fn of(input: R) -> Self {
        Self { input, lines: 0, again: VecDeque::new() }
    }

    fn line(&mut self) -> std::io::Result<Option<Line>> {
        if let Some(line) = self.again.pop_front() {
            return Ok(Some(line));
        }
        let mut line = Vec::new();
        if self.input.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.lines += 1;
        if self.lines == 1 && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        Ok(Some((self.lines, line)))
    }

    fn row(&mut self) -> std::io::Result<Option<Row>> {
        let (first, line) = loop {
            match self.line()? {
                None => return Ok(None),
                Some((_, line)) if line.trim_ascii().is_empty() => {}
                Some(line) => break line,
            }
        };
        let (mut splitter, mut last, mut length) = (Splitter::default(), first, line.len());
        let mut more = VecDeque::new();
        let mut split = splitter.feed(&line);
        let problem = loop {
            match split {
                Ok(true) => {
                    let texts = splitter.fields.into_iter().map(String::from_utf8);
                    let fields = texts.collect::<Result<_, _>>().map_err(|_| "it is not UTF-8");
                    return Ok(Some(Row { first, last, fields }));
                }
                Ok(false) if length > ROW_MAX => break NOT_CLOSED,
                Ok(false) => match self.line()? {
                    None => break NOT_CLOSED,
                    Some((number, line)) => {
                        split = splitter.feed(&line);
                        (last, length) = (number, length + line.len());
                        more.push_back((number, line));
                    }
                },
                Err(problem) => break problem,
            }
        };
        let problem = if more.is_empty() { problem } else { NOT_CLOSED };
        more.append(&mut self.again);
        self.again = more;
        Ok(Some(Row { first, last: first, fields: Err(problem) }))
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = std::io::Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        self.row().transpose()
    }
}

/// Splits the lines of one row into fields.
#[derive(Default)]
struct Splitter {
    fields: Vec<Vec<u8>>,
    field: Vec<u8>,
    place: Place,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    BeforeField,
    Plain,
    Quoted,
    /// After a quote in a quoted field: its end, or half of a quote.
    Quote,
    AfterField,
}

impl Splitter {
    /// Whether the row ends with this line.
    fn feed(&mut self, line: &[u8]) -> Result<bool, &'static str> {
        for (index, &byte) in line.iter().enumerate() {
            let ends = byte == b'\n' || byte == b'\r' && matches!(line[index + 1..], [] | [b'\n']);
            self.place = match (self.place, byte) {
                (Place::Quoted, b'"') => Place::Quote,
                (Place::Quoted, _) | (Place::Quote, b'"') => self.push(byte, Place::Quoted),
                (place, _) if ends => place,
                (_, b',') => self.end_field(),
                (Place::BeforeField, b'"') => Place::Quoted,
                (Place::BeforeField, b' ' | b'\t') => Place::BeforeField,
                (Place::BeforeField | Place::Plain, _) => self.push(byte, Place::Plain),
                (Place::Quote | Place::AfterField, b' ' | b'\t') => Place::AfterField,
                (Place::Quote | Place::AfterField, _) => return Err(AFTER_QUOTE),
            };
        }
        if self.place == Place::Quoted {
            return Ok(false);
        }
        self.end_field();
        Ok(true)
    }

    fn push(&mut self, byte: u8, place: Place) -> Place {
        self.field.push(byte);
        place
    }

    fn end_field(&mut self) -> Place {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        // Those before it are left out already, unless they are in quotes.
        let mut field = std::mem::take(&mut self.field);
        field.truncate(field.iter().rposition(|byte| !is_blank(byte)).map_or(0, |last| last + 1));
        field.drain(..field.iter().take_while(|byte| is_blank(byte)).count());
        self.fields.push(field);
        Place::BeforeField
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8]) -> Vec<(u64, u64, Result<String, &'static str>)> {
        let joined = |row: Row| (row.first, row.last, row.fields.map(|fields| fields.join("|")));
        Rows::of(text).map(|row| joined(row.unwrap())).collect()
    }

    fn row(first: u64, last: u64, fields: &str) -> (u64, u64, Result<String, &'static str>) {
        (first, last, Ok(fields.to_owned()))
    }

    #[test]
    fn rows_are_those_of_rfc_4180_without_the_blanks_around_fields() {
        let text = b"\xef\xbb\xbfa,b\r\n\r\n x , \"y, \"\"z\"\"\" ,\t\n{\"k\":1},\n\"two\nlines\",c\r\nlast,";
        let expected = [
            row(1, 1, "a|b"),
            row(3, 3, "x|y, \"z\"|"),
            row(4, 4, "{\"k\":1}|"),
            row(5, 6, "two\nlines|c"),
            row(7, 7, "last|"),
        ];
        assert_eq!(rows(text), expected);
    }

    #[test]
    fn a_quote_that_is_not_closed_swallows_nothing() {
        // To the end; to a quote that opens a field of another row; and one after which there is something else.
        assert_eq!(rows(b"a,\"b\nc,d\ne,f"), [(1, 1, Err(NOT_CLOSED)), row(2, 2, "c|d"), row(3, 3, "e|f")]);
        assert_eq!(rows(b"a,\"b\nc,d\ne,\"f\"\n"), [(1, 1, Err(NOT_CLOSED)), row(2, 2, "c|d"), row(3, 3, "e|f")]);
        assert_eq!(rows(b"\"a\"b,c\nd,e\n"), [(1, 1, Err(AFTER_QUOTE)), row(2, 2, "d|e")]);
        let long = ["a,\"b\n".to_owned(), "c,d\n".repeat(ROW_MAX / 3)].concat();
        let read = rows(long.as_bytes());
        assert_eq!((read.len(), &read[0]), (ROW_MAX / 3 + 1, &(1, 1, Err(NOT_CLOSED))));
    }

    #[test]
    fn a_row_that_is_not_utf_8_is_one_row() {
        assert_eq!(rows(b"a,\xff\nb,c\n"), [(1, 1, Err("it is not UTF-8")), row(2, 2, "b|c")]);
    }
}
