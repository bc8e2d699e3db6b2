//! Arguments that are one of a few names, and arguments that are pairs.
//! Owns: their parsers.
//! Must not know: which names there are.

use anyhow::bail;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// A parser of these names.
pub(super) fn named<T: Copy + Send + Sync + 'static>(
    names: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(names.iter().map(|(name, _)| *name)).try_map(move |text| {
        names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or("unknown name")
    })
}

/// Pairs of a name and a value, as `flag` takes them.
pub(super) fn pairs<C: FromIterator<(String, String)>>(flag: &str, given: &[String]) -> anyhow::Result<C> {
    let split = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => bail!("{flag} {text}: expected NAME=VALUE"),
    };
    given.iter().map(split).collect()
}
