//! Arguments that are one of a few names.
//! Owns: their parser.
//! Must not know: which names there are.

use clap::builder::{PossibleValuesParser, TypedValueParser};

/// A parser of these names.
pub(super) fn named<T: Copy + Send + Sync + 'static>(
    names: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(names.iter().map(|(name, _)| *name)).try_map(move |text| {
        names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or("unknown name")
    })
}
