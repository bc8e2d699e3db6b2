//! Names that are near to one that does not exist.
//! Owns: how alike two names are when one may have been meant by the other.
//! Must not know: what the names are of.

/// How alike two names are (Jaro, 0 to 1) when one may be a slip of the other.
const ALIKE: f64 = 0.85;

/// Those of the names that are like `name` or contain it, the likeliest first.
pub(super) fn near<'n>(names: impl Iterator<Item = &'n str>, name: &str) -> Vec<&'n str> {
    let likeness = |known: &'n str| {
        let part = name.len() >= 3 && (known.contains(name) || name.contains(known));
        (if part { 1.0 } else { strsim::jaro(known, name) }, known)
    };
    let mut near: Vec<(f64, &str)> = names.map(likeness).filter(|(alike, _)| *alike > ALIKE).collect();
    // Of those that are part of each other, the one of the nearest length.
    near.sort_by_key(|(_, known)| (known.len().abs_diff(name.len()), *known));
    near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    near.into_iter().map(|(_, known)| known).take(3).collect()
}
