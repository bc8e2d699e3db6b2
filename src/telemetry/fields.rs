//! The fields of spans in JSON logs.
//! Owns: how they are written. Every request has a span, and most requests no log line.
//! Must not know: which spans there are.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, FormattedFields, format::Writer},
};

/// Writes an object at once. `JsonFields` of the library first collects the fields in a tree.
pub(super) struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        writer.write_str(&object('{', &fields)?)
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        let separator = if current.fields.pop().is_some() && current.fields.len() > 1 { ',' } else { '{' };
        if separator == '{' {
            current.fields.clear();
        }
        current.fields.push_str(&object(separator, fields)?);
        Ok(())
    }
}

/// The fields and the end of an object, after this character.
fn object(separator: char, fields: &impl RecordFields) -> Result<String, fmt::Error> {
    let mut members = Members { text: String::with_capacity(192), separator, outcome: Ok(()) };
    fields.record(&mut members);
    members.outcome?;
    if members.text.is_empty() && separator == '{' {
        members.text.push('{');
    }
    members.text.push('}');
    Ok(members.text)
}

struct Members {
    text: String,
    separator: char,
    outcome: fmt::Result,
}

impl Members {
    fn write(&mut self, name: &str, value: &str) -> fmt::Result {
        self.text.push(self.separator);
        self.separator = ',';
        self.write_text(name)?;
        self.text.push(':');
        self.write_text(value)
    }

    fn write_text(&mut self, text: &str) -> fmt::Result {
        if text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\' || byte == b' ') {
            self.text.push('"');
            self.text.push_str(text);
            self.text.push('"');
            return Ok(());
        }
        self.text.push_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?);
        Ok(())
    }
}

impl Visit for Members {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.outcome = self.outcome.and_then(|()| self.write(field.name(), value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        self.outcome = self.outcome.and_then(|()| write!(text, "{value:?}"));
        self.record_str(field, &text);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::{Value, json};
    use tracing_subscriber::{fmt, layer::SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn span_of_line(open: impl Fn() -> tracing::Span) -> Value {
        let lines = Lines::default();
        let written = lines.clone();
        let layer = fmt::layer().json().fmt_fields(SpanFields).with_writer(move || written.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            open().in_scope(|| tracing::info!(event = "a.line", "a line"));
        });
        let line: Value = serde_json::from_slice(&lines.0.lock().unwrap()).unwrap();
        line["span"].clone()
    }

    #[test]
    fn fields_are_an_object_whatever_they_hold() {
        let odd = "a \"quoted\" \\ line\nwith \u{1f600}";
        let span = span_of_line(|| {
            tracing::info_span!("request", id = "x-1", method = odd, count = 3, missing = None::<&str>)
        });
        assert_eq!(span, json!({"name": "request", "id": "x-1", "method": odd, "count": "3"}));
        assert_eq!(span_of_line(|| tracing::info_span!("bare")), json!({"name": "bare"}));
    }

    #[test]
    fn fields_that_come_later_are_added() {
        let span = span_of_line(|| {
            let span = tracing::info_span!(
                "request",
                id = "x-1",
                first = tracing::field::Empty,
                second = tracing::field::Empty
            );
            span.record("first", "1");
            span.record("second", "2");
            span
        });
        assert_eq!(span, json!({"name": "request", "id": "x-1", "first": "1", "second": "2"}));
        let span = span_of_line(|| {
            let span = tracing::info_span!("bare", late = tracing::field::Empty);
            span.record("late", "1");
            span
        });
        assert_eq!(span, json!({"name": "bare", "late": "1"}));
    }
}
