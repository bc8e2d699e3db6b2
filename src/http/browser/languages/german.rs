//! German.
//! Owns: the German texts. They address the reader formally.
//! Must not know: where they are shown.

use chrono::Datelike;

use super::texts::{Ago, ConnectTexts, FooterTexts, KeyTexts, OutcomeTexts, PeopleFailures, PeopleTexts, Said, Texts};
use crate::http::browser::pages::page::FailureReason;

const RETURN: &str = "Sie können dieses Fenster schließen und zu Ihrem Agenten zurückkehren.";
const AGAIN: &str = "Kehren Sie zu Ihrem Agenten zurück und verbinden Sie erneut. Sie erhalten dort einen neuen Link.";
const AGAIN_THEN_REPORT: &str = "Kehren Sie zu Ihrem Agenten zurück und verbinden Sie erneut. Wenn Sie diese Seite noch \
                                 einmal sehen, zeigen Sie sie der Person, die Ihren Agenten betreibt.";
const MONTHS: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];

/// German.
pub static GERMAN: Texts = Texts {
    tag: "de",
    is_rtl: false,
    moment: |at| format!("{}. {} {} Uhr (UTC)", at.day(), MONTHS[at.month0() as usize], at.format("%Y, %H:%M")),
    ago: |ago| {
        let many = |count: i64, one: &str, more: &str| format!("vor {count} {}", if count == 1 { one } else { more });
        match ago {
            Ago::Now => "gerade eben".to_owned(),
            Ago::Minutes(count) => many(count, "Minute", "Minuten"),
            Ago::Hours(count) => many(count, "Stunde", "Stunden"),
            Ago::Days(count) => many(count, "Tag", "Tagen"),
        }
    },
    footer: FooterTexts { support: "Hilfe", privacy: "Datenschutz" },
    connect: ConnectTexts {
        title: |provider| format!("{provider} verbinden?"),
        title_again: |provider| format!("{provider} erneut verbinden?"),
        requested: |provider| format!("Ein Agent möchte Ihr Konto bei {provider} verwenden."),
        missing: |provider| {
            format!(
                "Der Agent hat für diese Person noch keinen Zugriff auf {provider}. Um ihn zu erteilen, fahren Sie fort und \
                 stimmen Sie dort zu."
            )
        },
        ended: |provider, account| {
            let whose = account.map_or_else(String::new, |account| format!(" auf das Konto {account}"));
            format!(
                "{provider} hat den Zugriff{whose} beendet. Um ihn zu erneuern, fahren Sie fort und stimmen Sie dort zu."
            )
        },
        agent: "Agent",
        agent_not_named: "Nicht genannt",
        user: "Für",
        provider: "Bei",
        permissions: "Angefragte Berechtigungen",
        enter_code: |provider| format!("Geben Sie diesen Code bei {provider} ein"),
        only_if: "Fahren Sie nur fort, wenn Sie {user} sind und dies selbst veranlasst haben. Hat Ihnen jemand diesen Link \
                  geschickt, brechen Sie ab.",
        go_on: "Weiter",
        cancel: "Abbrechen",
    },
    key: KeyTexts {
        title: |provider| format!("Ihr Schlüssel für {provider}"),
        requested: |provider| {
            format!(
                "Ein Agent möchte {provider} in Ihrem Namen verwenden. Er kann dann alles tun, was dieser Schlüssel erlaubt."
            )
        },
        label: "API-Schlüssel",
        save: "Schlüssel speichern",
        empty: "Geben Sie den Schlüssel ein.",
        too_long: "Das ist zu lang für einen Schlüssel. Kopieren Sie nur den Schlüssel.",
        unusable: "Das ist kein Schlüssel: Er enthält Leerzeichen, Zeilenumbrüche oder Sonderzeichen. Kopieren Sie nur den \
                   Schlüssel.",
        stored: "Er wird verschlüsselt gespeichert. Jeder Agent des Arbeitsbereichs, der im Namen von {user} anfragt, kann \
                 ihn verwenden.",
        stored_for_agent: "Er wird verschlüsselt gespeichert. Jeder Agent des Arbeitsbereichs, der im Namen von {user} \
                           anfragt und denselben Agenten nennt, kann ihn verwenden.",
        only_if: |provider| {
            format!(
                "Geben Sie nur dann einen Schlüssel ein, wenn Sie {{user}} sind und Ihren Agenten gerade eben gebeten haben, \
                 {provider} zu verbinden. Schließen Sie andernfalls dieses Fenster."
            )
        },
    },
    outcome: OutcomeTexts {
        connected: |provider| Said {
            title: format!("Mit {provider} verbunden"),
            happened: format!("Ihr Agent kann {provider} jetzt in Ihrem Namen verwenden."),
            next: RETURN,
        },
        already_connected: |provider| Said {
            title: format!("Bereits mit {provider} verbunden"),
            happened: "Diese Anfrage wurde schon abgeschlossen. Das erneute Öffnen der Seite hat nichts geändert."
                .to_owned(),
            next: RETURN,
        },
        no_consent_needed: |provider| Said {
            title: format!("Für {provider} ist keine Zustimmung nötig"),
            happened: "Ihr Agent erhält den Zugriff auch so.".to_owned(),
            next: "Sie können dieses Fenster schließen und zu Ihrem Agenten zurückkehren. Er muss den Zugriff erneut \
                   anfordern.",
        },
        updated: || Said {
            title: "Installation aktualisiert".to_owned(),
            happened: "Der Anbieter hat die Änderungen an der Installation der App gespeichert.".to_owned(),
            next: RETURN,
        },
        installed: || Said {
            title: "Ein Schritt fehlt noch".to_owned(),
            happened:
                "Die App wurde installiert, oder ihre Installation wurde beantragt. Sie ist noch nicht mit Ihrem Konto \
                       verbunden."
                    .to_owned(),
            next: "Kehren Sie zu Ihrem Agenten zurück und starten Sie dort die Verbindung. Sie erhalten einen Link, mit dem \
                   Sie sie abschließen.",
        },
        failed,
        answered: |provider| format!("Antwort von {}", provider.unwrap_or("dem Anbieter")),
        details: "Einzelheiten",
        error_in_address: "Fehlercode in der Adresse",
        next_in_visit: "Ihr Besuch geht weiter. Dort können Sie es noch einmal versuchen.",
        to_connections: "Zurück zu Ihren Verbindungen",
        request_id: "Anfrage-ID",
    },
    people: PeopleTexts {
        skip: "Zum Inhalt springen",
        title: "Ihre Verbindungen",
        leave: "Verlassen",
        go_on: "Weiter",
        link_shows: "Dieser Link zeigt die Konten, die für {user} verbunden sind. Sie können dort Konten verbinden und \
                     Verbindungen beenden.",
        link_only_if: "Fahren Sie nur fort, wenn Sie {user} sind und diesen Link selbst angefordert haben. Ein Konto, das Sie \
                       verbinden, wird von den Agenten von {user} verwendet.",
        link_once: "Der Link lässt sich nur einmal öffnen. Ihr Besuch endet nach einer Stunde oder wenn Sie ihn verlassen.",
        left: "Sie haben die Seite verlassen",
        left_again: "Ihre Verbindungen werden in diesem Browser nicht mehr angezeigt. Um sie wieder zu sehen, fordern Sie in \
                     der Anwendung einen neuen Link an.",

        nothing: "Sie haben hier noch nichts verbunden.",
        table: "Verbindungen",
        provider: "Anbieter",
        account: "Konto",
        agent: "Für",
        state: "Status",
        connected: "Verbunden",
        last_used: "Zuletzt verwendet",
        actions: "Aktionen",
        account_not_known: "Nicht bekannt",
        any_agent: "Jeder Agent, der für Sie handelt",
        never: "Nie",
        only_newest: "Nur die neuesten Verbindungen werden angezeigt.",
        reconnect: "Erneut verbinden",
        reconnect_named: |provider| format!("Erneut verbinden: {provider}"),
        revoke: "Beenden…",
        revoke_named: |provider| format!("Beenden: {provider}"),
        connect_heading: "Konto verbinden",
        nothing_to_connect: "Es gibt nichts zu verbinden.",
        before_connecting: "Bevor etwas verbunden wird, zeigt eine Seite, was angefragt wird, und der Anbieter fragt Sie.",
        connect: |provider| format!("{provider} verbinden"),
        connect_another: |provider| format!("Weiteres Konto bei {provider} verbinden"),

        elsewhere_title: |provider| format!("{provider} in einem neuen Fenster verbinden"),
        elsewhere: "Der Rest geschieht in einem eigenen Fenster, in dem Sie sehen, wessen Seiten es sind. Wenn Sie dort fertig \
                    sind, geht diese Seite von selbst weiter.",
        elsewhere_open: "Fenster öffnen",
        elsewhere_done: "Ich bin fertig",

        what_to_do: "Was zu tun ist",
        permits: "Was sie erlaubt",
        no_permissions: "Der Anbieter hat keine Berechtigungen genannt.",
        agents: "Welche Agenten sie verwenden",
        no_agent_yet: "Soweit aufgezeichnet, hat noch kein Agent sie verwendet.",
        agents_not_recorded: "Dieser Server zeichnet nicht auf, welche Agenten sie verwenden.",
        agent_without_name: "Ein Agent ohne Namen",
        agent_last_used: "zuletzt verwendet",
        agent_no_use: "darf sie verwenden; keine Verwendung aufgezeichnet",
        all: "Alle Ihre Verbindungen",

        revoke_title: |provider| format!("Verbindung zu {provider} beenden?"),
        revoke_means: "Agenten können sie dann nicht mehr verwenden, und der Zugriff wird auch beim Anbieter beendet. Um sie \
                       wieder zu verwenden, müssen Sie erneut verbinden.",
        revoke_now: "Beenden",
        cancel: "Abbrechen",

        state_connected: "Verbunden",
        state_interrupted: "Unterbrochen",
        state_ended: "Beendet",
        do_nothing: "Sie funktioniert. Es ist nichts zu tun.",
        do_wait: "Der Anbieter hat den Zugriff beim letzten Mal nicht erneuert. Dieser Server versucht es von selbst erneut; \
                  es ist nichts zu tun.",
        do_reconnect: "Der Anbieter hat den Zugriff beendet. Agenten können sie erst wieder verwenden, wenn Sie erneut \
                       verbinden.",

        done_connected: "Sie sind vom Anbieter zurückgekehrt. Ihre Verbindungen sind hier auf dem aktuellen Stand.",
        done_other_account: |approved, still_ended| {
            format!(
                "Sie haben als {approved} zugestimmt. Die Verbindung von {still_ended} ist weiterhin beendet. Um sie wieder \
                 herzustellen, drücken Sie noch einmal „Erneut verbinden“ und wählen Sie beim Anbieter dieses Konto."
            )
        },
        done_revoked: "Die Verbindung wurde beendet, hier und beim Anbieter.",
        done_revoking: "Die Verbindung wurde hier beendet. Beim Anbieter wird sie im Hintergrund ebenfalls beendet.",
        done_not_revocable: "Die Verbindung wurde hier beendet. Beim Anbieter lässt sie sich von hier aus nicht beenden: \
                             Entfernen Sie sie zur Sicherheit auch dort in den Einstellungen Ihres Kontos.",
        done_gone: "Sie war bereits beendet.",

        failures: PeopleFailures {
            signed_out: [
                "Öffnen Sie zuerst Ihren Link",
                "Diese Seite zeigt Ihre Verbindungen, nachdem Sie den Link geöffnet haben, den Sie von Ihrer Anwendung \
                 erhalten haben. Vielleicht ist auch Ihr Besuch zu Ende: Er dauert eine Stunde.",
            ],
            not_opened: [
                "Dieser Link lässt sich nicht öffnen",
                "Er ist abgelaufen, wurde schon geöffnet oder ist unvollständig. Jeder Link lässt sich nur einmal öffnen.",
            ],
            new_link: "Fordern Sie in der Anwendung einen neuen Link an.",
            not_found: [
                "Nicht gefunden",
                "Diese Verbindung oder diesen Anbieter gibt es hier nicht. Vielleicht wurde die Verbindung beendet oder der \
                 Anbieter entfernt.",
            ],
            foreign_form: [
                "Das ist nicht möglich",
                "Dieses Formular wurde nicht von einer Seite Ihres Besuchs gesendet, oder Sie haben inzwischen einen anderen \
                 Link geöffnet. Öffnen Sie die Seite erneut und wiederholen Sie es dort.",
            ],
            too_many: ["Zu viele Anfragen", "In kurzer Zeit wurde zu viel angefragt."],
            internal: [
                "Etwas ist schiefgegangen",
                "Bei diesem Server oder beim Anbieter ist ein Fehler aufgetreten. Es wurde nichts geändert.",
            ],
            refused: ["Das ist nicht möglich", "Der Server hat die Anfrage abgelehnt."],
            later: "Gehen Sie in Ihrem Browser zurück und versuchen Sie es später erneut.",
        },
    },
};

fn failed(reason: FailureReason, provider: Option<&str>) -> Said {
    let first = provider.unwrap_or("Der Anbieter");
    let with = provider.unwrap_or("dem Anbieter");
    let said =
        |title: &str, happened: &str, next| Said { title: title.to_owned(), happened: happened.to_owned(), next };
    match reason {
        FailureReason::Denied => said(
            "Der Zugriff wurde nicht erteilt",
            &format!(
                "Die Anfrage wurde abgelehnt, daher wurde Ihr Agent nicht mit {with} verbunden. Sonst hat sich nichts geändert."
            ),
            "Sie können dieses Fenster schließen. Falls Sie nicht ablehnen wollten, kehren Sie zu Ihrem Agenten zurück und \
             verbinden Sie erneut.",
        ),
        FailureReason::ProviderRefused => said(
            &format!("{first} hat die Anfrage abgelehnt"),
            "Es wurde kein Zugriff erteilt, und nichts hat sich geändert.",
            AGAIN_THEN_REPORT,
        ),
        FailureReason::InvalidState => said(
            "Dieser Link ist nicht mehr gültig",
            "Er ist abgelaufen oder wurde nicht von diesem Server ausgestellt. Nichts hat sich geändert.",
            AGAIN,
        ),
        FailureReason::StateUsed => said(
            "Dieser Link wurde bereits verwendet",
            "Jeder Link funktioniert einmal, und dieser wurde schon verwendet. Das erneute Öffnen hat nichts geändert.",
            "Sie können dieses Fenster schließen. Falls Ihr Agent noch wartet, verbinden Sie dort erneut.",
        ),
        FailureReason::OtherBrowser => said(
            "Dieser Link wurde in einem anderen Browser geöffnet",
            "Ein Link lässt sich nur in dem Browser abschließen, in dem er begonnen wurde. Hier wurde nichts verbunden.",
            "Falls Sie selbst begonnen haben, wechseln Sie zu jenem Browser, oder kehren Sie zu Ihrem Agenten zurück und \
             verbinden Sie erneut. Hat Ihnen jemand den Link geschickt, schließen Sie dieses Fenster.",
        ),
        FailureReason::WrongProvider => said(
            "Diese Antwort gehört zu einem anderen Anbieter",
            "Sie kam bei einer anderen Rückkehradresse an als der des Anbieters, zu dem Sie geschickt wurden. Sie wurde \
             abgewiesen, und nichts hat sich geändert.",
            AGAIN_THEN_REPORT,
        ),
        FailureReason::MissingParameters => said(
            "Dieser Link ist unvollständig",
            "Ein Teil der Adresse fehlt, daher lässt sie sich keiner Anfrage zuordnen. Nichts hat sich geändert.",
            AGAIN,
        ),
        FailureReason::ExchangeFailed => said(
            &format!("{first} hat die Verbindung nicht abgeschlossen"),
            "Sie haben zugestimmt, aber der Anbieter hat den letzten Schritt abgelehnt.",
            AGAIN_THEN_REPORT,
        ),
        FailureReason::ProviderUnavailable => said(
            &format!("{first} ist nicht erreichbar"),
            "Sie haben zugestimmt, aber der Anbieter hat den letzten Schritt nicht abgeschlossen.",
            "Warten Sie einige Minuten, kehren Sie dann zu Ihrem Agenten zurück und verbinden Sie erneut.",
        ),
        FailureReason::Internal => said(
            "Etwas ist schiefgegangen",
            &format!(
                "Bei diesem Server ist ein Fehler aufgetreten. Die Verbindung mit {with} wurde nicht abgeschlossen."
            ),
            "Warten Sie einige Minuten, kehren Sie dann zu Ihrem Agenten zurück und verbinden Sie erneut. Wenn Sie diese \
             Seite noch einmal sehen, zeigen Sie sie der Person, die Ihren Agenten betreibt.",
        ),
    }
}
