//! English.
//! Owns: the English texts, which say what each text is for.
//! Must not know: where they are shown.

use super::texts::{Ago, ConnectTexts, FooterTexts, KeyTexts, OutcomeTexts, PeopleFailures, PeopleTexts, Said, Texts};
use crate::http::browser::pages::page::FailureReason;

const RETURN: &str = "You can close this window and return to your agent.";
const AGAIN: &str = "Return to your agent and connect again. It will give you a new link.";
const AGAIN_THEN_REPORT: &str =
    "Return to your agent and connect again. If you see this page again, show it to the person who runs your agent.";

/// English.
pub static ENGLISH: Texts = Texts {
    tag: "en",
    is_rtl: false,
    moment: |at| at.format("%-d %B %Y, %H:%M UTC").to_string(),
    ago: |ago| {
        let many = |count: i64, unit: &str| format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" });
        match ago {
            Ago::Now => "just now".to_owned(),
            Ago::Minutes(count) => many(count, "minute"),
            Ago::Hours(count) => many(count, "hour"),
            Ago::Days(count) => many(count, "day"),
        }
    },
    footer: FooterTexts { support: "Help", privacy: "Privacy" },
    connect: ConnectTexts {
        title: |provider| format!("Connect {provider}?"),
        title_again: |provider| format!("Connect {provider} again?"),
        requested: |provider| format!("An agent wants to use your {provider} account."),
        missing: |provider| {
            format!("The agent has no access to {provider} for this user yet. To give it, go on and approve there.")
        },
        ended: |provider, account| {
            let whose = account.map_or_else(String::new, |account| format!(" of the account {account}"));
            format!("{provider} has ended the access{whose}. To renew it, go on and approve there.")
        },
        agent: "Agent",
        agent_not_named: "Not named",
        user: "For the user",
        provider: "At",
        permissions: "It asks for these permissions",
        enter_code: |provider| format!("Enter this code at {provider}"),
        only_if: "Continue only if you are {user} and started this yourself. If somebody sent you this link, cancel.",
        go_on: "Continue",
        cancel: "Cancel",
    },
    key: KeyTexts {
        title: |provider| format!("Your key for {provider}"),
        requested: |provider| {
            format!("An agent wants to use {provider} on your behalf. It can then do whatever this key allows.")
        },
        label: "API key",
        save: "Save key",
        empty: "Enter the key.",
        too_long: "This is too long for a key. Copy only the key.",
        unusable: "This is not a key: it has spaces, line breaks or special characters. Copy only the key.",
        stored: "It is stored encrypted. Every agent of the workspace that asks on behalf of {user} can use it.",
        stored_for_agent: "It is stored encrypted. Every agent of the workspace that asks on behalf of {user} can use it, if \
                           it names the same agent.",
        only_if: |provider| {
            format!(
                "Enter a key only if you are {{user}} and asked your agent to connect {provider} just now. Otherwise close \
                 this window."
            )
        },
    },
    outcome: OutcomeTexts {
        connected: |provider| Said {
            title: format!("Connected to {provider}"),
            happened: format!("Your agent can now use {provider} on your behalf."),
            next: RETURN,
        },
        already_connected: |provider| Said {
            title: format!("Already connected to {provider}"),
            happened: "This request was completed before. Opening the page again changed nothing.".to_owned(),
            next: RETURN,
        },
        no_consent_needed: |provider| Said {
            title: format!("No consent is needed for {provider}"),
            happened: "Your agent gets access without it.".to_owned(),
            next: "You can close this window and return to your agent. It has to ask for the token again.",
        },
        updated: || Said {
            title: "Installation updated".to_owned(),
            happened: "The provider has saved the changes to the app's installation.".to_owned(),
            next: RETURN,
        },
        installed: || Said {
            title: "One step left".to_owned(),
            happened:
                "The app was installed, or its installation was requested. It is not connected to your account yet."
                    .to_owned(),
            next: "Return to your agent and connect: it will give you a link to complete the connection.",
        },
        failed,
        answered: |provider| format!("{} answered", provider.unwrap_or("The provider")),
        details: "Details",
        error_in_address: "Error code in the address",
        next_in_visit: "Your visit goes on. You can try again there.",
        to_connections: "Back to your connections",
        request_id: "Request ID",
    },
    people: PeopleTexts {
        skip: "Skip to the content",
        title: "Your connections",
        leave: "Leave",
        go_on: "Continue",
        link_shows: "This link shows the accounts that are connected for {user}. You can connect accounts there, and end \
                     connections.",
        link_only_if: "Continue only if you are {user} and asked for this link yourself. An account that you connect is used by \
                       the agents of {user}.",
        link_once: "The link can be opened once. Your visit ends after an hour, or when you leave.",
        left: "You have left",
        left_again: "Your connections are not shown in this browser any more. To see them again, ask the application for a \
                     new link.",

        nothing: "You are not connected to anything here.",
        table: "Connections",
        provider: "Provider",
        account: "Account",
        agent: "For",
        state: "State",
        connected: "Connected",
        last_used: "Last used",
        actions: "Actions",
        account_not_known: "Not known",
        any_agent: "Any agent that acts for you",
        never: "Never",
        only_newest: "Only the newest connections are shown.",
        reconnect: "Reconnect",
        reconnect_named: |provider| format!("Reconnect {provider}"),
        revoke: "Revoke…",
        revoke_named: |provider| format!("Revoke {provider}"),
        connect_heading: "Connect an account",
        nothing_to_connect: "There is nothing to connect.",
        before_connecting: "Before anything is connected, a page says what is requested, and the provider asks you.",
        connect: |provider| format!("Connect {provider}"),
        connect_another: |provider| format!("Connect another account of {provider}"),

        elsewhere_title: |provider| format!("Connect {provider} in a new window"),
        elsewhere: "The rest happens in a window of its own, where you can see whose pages they are. When you have finished \
                    there, this page goes on by itself.",
        elsewhere_open: "Open the window",
        elsewhere_done: "I have finished",

        what_to_do: "What to do",
        permits: "What it permits",
        no_permissions: "The provider named no permissions.",
        agents: "Which agents use it",
        no_agent_yet: "No agent has used it yet, as far as is recorded.",
        agents_not_recorded: "This server does not record which agents use it.",
        agent_without_name: "An agent that gave no name",
        agent_last_used: "last used",
        agent_no_use: "may use it; no use is recorded",
        all: "All of your connections",

        revoke_title: |provider| format!("Revoke the connection to {provider}?"),
        revoke_means: "Agents cannot use it any more, and the access is ended at the provider too. To use it again, you have \
                       to connect again.",
        revoke_now: "Revoke",
        cancel: "Cancel",

        state_connected: "Connected",
        state_interrupted: "Interrupted",
        state_ended: "Ended",
        do_nothing: "It works. There is nothing to do.",
        do_wait: "The provider did not renew the access the last time. This server tries again by itself; there is nothing \
                  to do.",
        do_reconnect: "The provider has ended the access. Agents cannot use it until you reconnect it.",

        done_connected: "You came back from the provider. Your connections are listed here as they are now.",
        done_other_account: |approved, still_ended| {
            format!(
                "You approved as {approved}. The connection of {still_ended} is still ended. To reconnect it, press Reconnect \
                 again, and choose that account at the provider."
            )
        },
        done_revoked: "The connection was ended, here and at the provider.",
        done_revoking: "The connection was ended here. It is being ended at the provider too, in the background.",
        done_not_revocable: "The connection was ended here. The provider offers no way to end it there from here: to be \
                             sure, remove it in your account's settings at the provider too.",
        done_gone: "It was ended already.",

        failures: PeopleFailures {
            signed_out: [
                "Open your link first",
                "This page shows your connections after you have opened the link that your application gave you. It may \
                 also be that your visit has ended: it lasts an hour.",
            ],
            not_opened: [
                "This link cannot be opened",
                "It has expired, was opened before, or is not complete. Each link can be opened once.",
            ],
            new_link: "Ask the application for a new link.",
            not_found: [
                "Not found",
                "There is no such connection or provider here. It may have been ended or removed.",
            ],
            foreign_form: [
                "This cannot be done",
                "This form was not sent from a page of your visit, or you have opened another link since. Open the page \
                 again, and repeat it there.",
            ],
            too_many: ["Too many requests", "Too much was requested in a short time."],
            internal: ["Something went wrong", "This server or the provider had a problem. Nothing was changed."],
            refused: ["This cannot be done", "The server refused the request."],
            later: "Go back with your browser, and try again later.",
        },
    },
};

fn failed(reason: FailureReason, provider: Option<&str>) -> Said {
    let first = provider.unwrap_or("The provider");
    let within = provider.unwrap_or("the provider");
    let said =
        |title: &str, happened: &str, next| Said { title: title.to_owned(), happened: happened.to_owned(), next };
    match reason {
        FailureReason::Denied => said(
            "Access was not granted",
            &format!(
                "The request was declined, so your agent was not connected to {within}. Nothing else has changed."
            ),
            "You can close this window. If you did not mean to decline, return to your agent and connect again.",
        ),
        FailureReason::ProviderRefused => said(
            &format!("{first} refused the request"),
            "No access was granted, and nothing has changed.",
            AGAIN_THEN_REPORT,
        ),
        FailureReason::InvalidState => said(
            "This link is no longer valid",
            "It has expired, or it was not issued by this server. Nothing has changed.",
            AGAIN,
        ),
        FailureReason::StateUsed => said(
            "This link was already used",
            "Each link works once, and this one has been used. Opening it again changed nothing.",
            "You can close this window. If your agent is still waiting, connect again from there.",
        ),
        FailureReason::OtherBrowser => said(
            "This link was opened in another browser",
            "A link can be completed only in the browser in which it was started. Nothing was connected here.",
            "If you started it yourself, go back to that browser, or return to your agent and connect again. If somebody \
             sent you the link, close this window.",
        ),
        FailureReason::WrongProvider => said(
            "This response belongs to another provider",
            "It arrived at another callback address than the one of the provider that you were sent to. It was rejected, \
             and nothing has changed.",
            AGAIN_THEN_REPORT,
        ),
        FailureReason::MissingParameters => said(
            "This link is incomplete",
            "A part of the address is missing, so it cannot be matched to a request. Nothing has changed.",
            AGAIN,
        ),
        FailureReason::ExchangeFailed => said(
            &format!("{first} did not finish connecting"),
            "You gave your consent, but the provider rejected the last step.",
            AGAIN_THEN_REPORT,
        ),
        FailureReason::ProviderUnavailable => said(
            &format!("{first} is not available"),
            "You gave your consent, but the provider did not complete the last step.",
            "Wait a few minutes, then return to your agent and connect again.",
        ),
        FailureReason::Internal => said(
            "Something went wrong",
            &format!("This server had a problem and could not complete the connection to {within}."),
            "Wait a few minutes, then return to your agent and connect again. If you see this page again, show it to the \
             person who runs your agent.",
        ),
    }
}
