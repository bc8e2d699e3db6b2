//! The people who have an account at the sample provider.
//! Owns: who they are. The browser that opens the consent page is signed in to two of their accounts.
//! Must not know: what they consented to.

/// Somebody with an account.
#[derive(Debug)]
pub struct Person {
    /// The account's id.
    pub id: &'static str,
    /// Their name.
    pub name: &'static str,
    /// Their email address.
    pub email: &'static str,
}

/// The person in whose browser the consent page is opened.
pub const SAM: Person = Person { id: "sam-sample", name: "Sam Sample", email: "sam@example.com" };
/// The same person's account at work.
pub const SAM_AT_WORK: Person = Person { id: "sam-work", name: "Sam Sample", email: "sam@work.example.com" };
/// Somebody else.
pub const MIA: Person = Person { id: "mia", name: "Mia Moore", email: "mia@example.com" };
/// Somebody else.
pub const BEN: Person = Person { id: "ben", name: "Ben Brown", email: "ben@example.com" };
/// Somebody else.
pub const CLEO: Person = Person { id: "cleo", name: "Cleo Clark", email: "cleo@example.com" };
/// Somebody else.
pub const DAN: Person = Person { id: "dan", name: "Dan Davis", email: "dan@example.com" };

/// The accounts between which the consent page lets its person choose.
pub(super) const ACCOUNTS: [&Person; 2] = [&SAM, &SAM_AT_WORK];

/// The account that `is_it` is true for, or else the first.
pub(super) fn account(is_it: impl Fn(&Person) -> bool) -> &'static Person {
    ACCOUNTS.into_iter().find(|person| is_it(person)).unwrap_or(&SAM)
}

impl Person {
    /// The first letters of their names.
    pub(super) fn initials(&self) -> String {
        self.name.split(' ').filter_map(|name| name.chars().next()).collect()
    }
}
