//! Log lines in JSON: one object a line, with the id of the request at its top.
//! Owns: the fields that a line has besides those of its event.
//! Must not know: what is logged.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter,
        format::{Format, Json, Writer},
        layer,
    },
    registry::LookupSpan,
};

/// The span of a request, and its target. It is enabled whatever is logged: the lines inside it need its fields.
pub const REQUEST_SPAN: &str = "request";

/// The lines, written to `writer`.
pub(super) fn json_layer<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let format = Format::default().json().flatten_event(true).with_current_span(false).with_span_list(false);
    layer().fmt_fields(SpanFields).event_format(Line(format)).with_writer(writer)
}

/// A line: the event, and before it the request that it belongs to.
struct Line(Format<Json>);

impl<S> FormatEvent<S, SpanFields> for Line
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, SpanFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let Some(mut request) = request_of(context) else { return writer.write_str(&line) };
        let id = request.remove("request_id").unwrap_or_default();
        request.insert("name".into(), REQUEST_SPAN.into());
        let event = line.strip_prefix('{').ok_or(fmt::Error)?;
        write!(writer, "{{\"request_id\":{id},\"span\":{},{event}", Value::from(request))
    }
}

/// The fields of the request in which an event happens.
fn request_of<S>(context: &FmtContext<'_, S, SpanFields>) -> Option<Map<String, Value>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let request = context.event_scope()?.find(|span| span.name() == REQUEST_SPAN)?;
    let extensions = request.extensions();
    let fields = extensions.get::<FormattedFields<SpanFields>>()?;
    serde_json::from_str(&format!("{{{}}}", fields.fields)).ok()
}

/// Writes the fields of a span as the members of an object. Every request has a span, and few have a line: nothing is
/// parsed or sorted here.
struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut members = Members { writer, written: false, result: Ok(()) };
        fields.record(&mut members);
        members.result
    }
}

struct Members<'writer> {
    writer: Writer<'writer>,
    written: bool,
    result: fmt::Result,
}

impl Members<'_> {
    fn add(&mut self, field: &Field, value: &Value) {
        let comma = if std::mem::replace(&mut self.written, true) { "," } else { "" };
        self.result = self.result.and_then(|()| write!(self.writer, "{comma}\"{}\":{value}", field.name()));
    }
}

impl Visit for Members<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, &value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex, PoisonError},
    };

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn of(log: impl FnOnce()) -> Vec<Value> {
            let lines = Self::default();
            let writer = lines.clone();
            let subscriber = tracing_subscriber::registry().with(json_layer(move || writer.clone()));
            tracing::subscriber::with_default(subscriber, log);
            let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    #[test]
    fn a_line_has_the_id_of_its_request_at_the_top_however_deep_it_is() {
        let lines = Lines::of(|| {
            tracing::info!(event = "server.listening", number = 1, "outside");
            let request = tracing::error_span!(target: "request", "request", request_id = "x\"y", route = "/a/{b}");
            let _in_request = request.enter();
            tracing::warn!(event = "database.unavailable", "inside");
            let _deeper = tracing::info_span!("upstream", provider = "acme", request_id = "another").entered();
            tracing::warn!(event = "server.few_files", provider = "other", "deeper");
        });
        assert_eq!(lines[0]["event"], "server.listening");
        assert_eq!((&lines[0]["number"], &lines[0]["message"]), (&1.into(), &"outside".into()));
        assert!(lines[0].get("request_id").is_none() && lines[0].get("span").is_none(), "{}", lines[0]);
        for (line, event) in lines[1..].iter().zip(["database.unavailable", "server.few_files"]) {
            assert_eq!(line["event"], event);
            assert_eq!(line["request_id"], "x\"y");
            assert_eq!(line["span"], serde_json::json!({"name": "request", "route": "/a/{b}"}));
            assert!(line["timestamp"].is_string() && line["level"] == "WARN" && line["target"].is_string(), "{line}");
        }
        assert_eq!(lines[2]["provider"], "other");
        assert_eq!(lines.len(), 3);
    }
}
