//! The scopes of the sample provider.
//! Owns: what each permits, in the words of its consent page.
//! Must not know: who asks for one.

/// To see the profile.
pub const PROFILE: &str = "profile.read";
/// To read the documents.
pub const DOCUMENTS: &str = "documents.read";
/// To see the calendar.
pub const CALENDAR: &str = "calendar.read";
/// To see the contacts.
pub const CONTACTS: &str = "contacts.read";

/// Each scope that the provider explains, and what it permits.
pub const MEANINGS: [(&str, &str); 7] = [
    (PROFILE, "See your name and email address"),
    (DOCUMENTS, "Read your documents"),
    (CALENDAR, "See what is in your calendar"),
    (CONTACTS, "See your contacts"),
    ("profile", "See your name and profile"),
    ("email", "See your email address"),
    ("offline_access", "Stay connected while you are away"),
];

/// What a scope permits. One that is not known can be granted too, so that any can be tried; it opens nothing.
pub(super) fn meaning(scope: &str) -> &'static str {
    MEANINGS
        .iter()
        .find(|(name, _)| *name == scope)
        .map_or("Nothing: this provider does not know the permission", |it| it.1)
}
