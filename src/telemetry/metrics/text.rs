//! The text format of Prometheus (version 0.0.4).
//! Owns: how names, labels and values are written.
//! Must not know: which metrics there are.

use std::fmt::{Display, Write};

use super::value::{BOUNDS, Each, Histogram, Label};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric: its name, what it is, and what it says.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

/// The text as far as it is written.
#[derive(Default)]
pub(super) struct Text(pub(super) String);

/// The samples of one metric.
pub(super) struct Samples<'t> {
    text: &'t mut String,
    name: &'static str,
}

impl Text {
    /// Begins a metric.
    pub(super) fn begin(&mut self, metric: &Metric) -> Samples<'_> {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a String does not fail.
        let _ = write!(self.0, "# HELP {0} {1}\n# TYPE {0} {kind}\n", metric.name, metric.help);
        Samples { text: &mut self.0, name: metric.name }
    }
}

impl Samples<'_> {
    /// A sample with these labels.
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.write("", labels, &[], value);
    }

    /// A sample for each value of a label, besides these labels.
    pub(super) fn add_each<L: Label, V>(
        &mut self,
        labels: &[(&str, &str)],
        label: &str,
        values: &Each<L, V>,
        read: impl Fn(&V) -> u64,
    ) {
        for (name, value) in values.iter() {
            self.write("", labels, &[(label, name)], read(value));
        }
    }

    /// The samples of a histogram.
    pub(super) fn add_histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) {
        let (counts, sum) = histogram.cumulated();
        for (bound, count) in BOUNDS.iter().zip(counts) {
            #[expect(clippy::cast_precision_loss, reason = "the bounds are small")]
            let seconds = *bound as f64 / 1e6;
            self.write("_bucket", labels, &[("le", &seconds.to_string())], count);
        }
        let count = counts[BOUNDS.len()];
        self.write("_bucket", labels, &[("le", "+Inf")], count);
        self.write("_sum", labels, &[], sum);
        self.write("_count", labels, &[], count);
    }

    fn write(&mut self, suffix: &str, labels: &[(&str, &str)], more: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let mut before = '{';
        for (name, value) in labels.iter().chain(more) {
            self.text.push(before);
            self.text.push_str(name);
            self.text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_in_the_format_of_prometheus() {
        let mut text = Text::default();
        let mut samples = text.begin(&Metric { name: "a_total", kind: Kind::Counter, help: "A." });
        samples.add(&[], 1);
        samples.add(&[("b", "x\"y\\z\n"), ("c", "")], 2);
        let expected = "# HELP a_total A.\n# TYPE a_total counter\na_total 1\na_total{b=\"x\\\"y\\\\z\\n\",c=\"\"} 2\n";
        assert_eq!(text.0, expected);
    }

    #[test]
    fn a_histogram_has_a_sample_for_each_bound() {
        let mut text = Text::default();
        text.begin(&Metric { name: "a_seconds", kind: Kind::Histogram, help: "A." })
            .add_histogram(&[("b", "c")], &Histogram::default());
        let lines: Vec<&str> = text.0.lines().collect();
        assert_eq!(lines.len(), 2 + BOUNDS.len() + 3);
        assert_eq!(lines[2], "a_seconds_bucket{b=\"c\",le=\"0.0005\"} 0");
        assert_eq!(lines[12], "a_seconds_bucket{b=\"c\",le=\"1\"} 0");
        assert_eq!(
            lines[lines.len() - 3..],
            ["a_seconds_bucket{b=\"c\",le=\"+Inf\"} 0", "a_seconds_sum{b=\"c\"} 0", "a_seconds_count{b=\"c\"} 0"]
        );
    }
}
