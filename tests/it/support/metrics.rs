//! What `/metrics` says, read as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};

use super::binary::Server;

/// One reading.
#[derive(Debug, Default)]
pub struct Scrape {
    /// The type and the help text of each metric.
    pub metrics: BTreeMap<String, (String, String)>,
    pub samples: Vec<Sample>,
}

#[derive(Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Scrape {
    pub async fn of(server: &Server) -> Self {
        let (status, text) = server.get("/metrics").await.expect("an answer");
        assert_eq!(status, 200, "{text}");
        Self::read(&text)
    }

    fn read(text: &str) -> Self {
        let (mut scrape, mut series) = (Self::default(), BTreeSet::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("a help text");
                let previous = scrape.metrics.insert(name.to_owned(), (String::new(), help.to_owned()));
                assert!(previous.is_none(), "{name} comes twice");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type");
                kind.clone_into(&mut scrape.metrics.get_mut(name).expect("the help comes first").0);
            } else {
                let sample = Sample::read(line);
                // Prometheus would keep one of them and say so in its own log only.
                assert!(series.insert((sample.name.clone(), sample.labels.clone())), "this series comes twice: {line}");
                scrape.samples.push(sample);
            }
        }
        scrape
    }

    /// The sum of the samples with these labels, among others; `None`: there is no such sample.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|v| v == value))
        };
        let values: Vec<f64> = self.samples.iter().filter(has).map(|sample| sample.value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// The metric that a sample belongs to.
    pub fn metric_of(&self, sample: &Sample) -> &str {
        let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| sample.name.strip_suffix(part));
        let of_histogram =
            parts.filter_map(|name| self.metrics.get_key_value(name)).find(|(_, of)| of.0 == "histogram");
        let metric = of_histogram.or_else(|| self.metrics.get_key_value(&sample.name));
        metric.unwrap_or_else(|| panic!("{sample:?} belongs to no metric")).0
    }
}

impl Sample {
    fn read(line: &str) -> Self {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
        let labels = labels.strip_suffix('}').expect("a bracket");
        // No value of ours has a quotation mark in it.
        let label = |label: &str| {
            let (name, value) = label.split_once("=\"").expect("a label");
            (name.trim_start_matches(',').to_owned(), value.to_owned())
        };
        Self {
            name: name.to_owned(),
            labels: labels
                .split_terminator('"')
                .collect::<Vec<_>>()
                .chunks(2)
                .map(|pair| label(&pair.join("\"")))
                .collect(),
            value: value.parse().expect("a number"),
        }
    }
}
