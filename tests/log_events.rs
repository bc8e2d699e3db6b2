//! Log events are an interface: every log line names its event, and `docs/operations.md` lists every event.
//! Owns: the reading of the log macros in the sources, and of the table in the document.
//! Must not know: when an event is logged.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here is a failure of the test")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The macros of `tracing` that write a log line, and what the document calls their level.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// One log macro in the sources.
struct LogLine {
    file: PathBuf,
    level: String,
    arguments: Vec<TokenTree>,
}

impl LogLine {
    /// The value of `event = "..."`, if that is the first argument.
    fn event(&self) -> Option<String> {
        match &self.arguments[..] {
            [TokenTree::Ident(name), TokenTree::Punct(is), TokenTree::Literal(event), ..]
                if name == "event" && is.as_char() == '=' =>
            {
                Some(event.to_string().trim_matches('"').to_owned())
            }
            _ => None,
        }
    }

    /// True when the last argument is a text.
    fn has_message(&self) -> bool {
        let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(comma) if comma.as_char() == ',');
        let arguments = match &self.arguments[..] {
            [rest @ .., last] if is_comma(last) => rest,
            all => all,
        };
        matches!(arguments, [.., comma, TokenTree::Literal(text)] if is_comma(comma) && text.to_string().starts_with('"'))
    }
}

#[test]
fn every_log_line_names_its_event_and_has_a_message() {
    let faults: Vec<String> = log_lines()
        .iter()
        .filter(|line| !line.event().is_some_and(|event| is_event_name(&event)) || !line.has_message())
        .map(|line| {
            let arguments: TokenStream = line.arguments.iter().cloned().collect();
            format!("{}: {}!({arguments})", line.file.display(), line.level)
        })
        .collect();
    assert!(
        faults.is_empty(),
        "Each of these needs `event = \"noun.verb_phrase\"` first and a message last:\n{}",
        faults.join("\n")
    );
}

#[test]
fn the_document_lists_every_event_and_no_other() {
    let logged: BTreeMap<String, String> =
        log_lines().into_iter().filter_map(|line| Some((line.event()?, line.level))).collect();
    let documented = documented_events();
    for (event, level) in &logged {
        match documented.get(event) {
            None => panic!("`{event}` is logged, but \"Log events\" in docs/operations.md does not list it"),
            Some(listed) => assert_eq!(listed, level, "the level of `{event}` in docs/operations.md"),
        }
    }
    for event in documented.keys() {
        assert!(logged.contains_key(event), "docs/operations.md lists `{event}`, but nothing logs it");
    }
}

#[test]
fn an_event_is_always_logged_at_the_same_level() {
    let mut levels: BTreeMap<String, String> = BTreeMap::new();
    for line in log_lines() {
        let Some(event) = line.event() else { continue };
        let level = levels.entry(event.clone()).or_insert_with(|| line.level.clone());
        assert_eq!(*level, line.level, "{event}");
    }
}

#[test]
fn log_lines_are_found_in_every_form() {
    let source = r#"
        // tracing::warn!("in a comment");
        fn f() {
            let text = "tracing::warn!(\"in a text\")";
            tokio::select! { () = stop => tracing::warn!(event = "a.b", "inside another macro") }
            info!(
                event = "c.d", id = %text,
                "on several lines",
            );
            tracing::error!("without an event");
            tracing::debug!(event = "e.f", text);
        }"#;
    let mut lines = Vec::new();
    collect(source.parse().unwrap(), Path::new("f.rs"), &mut lines);
    let found: Vec<_> = lines.iter().map(|line| (line.level.as_str(), line.event(), line.has_message())).collect();
    let event = |name: &str| Some(name.to_owned());
    assert_eq!(
        found,
        [
            ("warn", event("a.b"), true),
            ("info", event("c.d"), true),
            ("error", None, false),
            ("debug", event("e.f"), false)
        ]
    );
}

/// `noun.verb_phrase`, in lower case.
fn is_event_name(event: &str) -> bool {
    let is_word =
        |word: &str| word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(is_word_character);
    event.split_once('.').is_some_and(|(noun, verb)| is_word(noun) && is_word(verb))
}

fn is_word_character(c: char) -> bool {
    c.is_ascii_lowercase() || c == '_'
}

/// Every log macro in `src/`.
fn log_lines() -> Vec<LogLine> {
    let mut lines = Vec::new();
    let mut folders = vec![PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                collect(source.parse().expect("a Rust source"), &path, &mut lines);
            }
        }
    }
    assert!(lines.len() > 40, "the sources are read");
    lines
}

/// Adds the log macros in `tokens`, however deep inside other macros.
fn collect(tokens: TokenStream, file: &Path, lines: &mut Vec<LogLine>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        if let [.., TokenTree::Ident(name), TokenTree::Punct(bang)] = &tokens[..index]
            && bang.as_char() == '!'
            && group.delimiter() == Delimiter::Parenthesis
            && LEVELS.iter().any(|level| name == level)
        {
            let arguments = group.stream().into_iter().collect();
            lines.push(LogLine { file: file.to_owned(), level: name.to_string(), arguments });
        }
        collect(group.stream(), file, lines);
    }
}

/// The table under "Log events": each event with its level.
fn documented_events() -> BTreeMap<String, String> {
    let document = std::fs::read_to_string("docs/operations.md").unwrap();
    let (_, section) = document.split_once("\n## Log events\n").expect("the section");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let mut events = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [event, level, meaning, remedy] = cells[..] else { panic!("not four columns: {row}") };
        assert!(!meaning.is_empty() && !remedy.is_empty(), "an empty cell: {row}");
        let previous = events.insert(event.trim_matches('`').to_owned(), level.to_owned());
        assert_eq!(previous, None, "`{event}` is listed twice");
    }
    events
}
