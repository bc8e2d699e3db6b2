//! What every page promises: safe texts, hardened headers, a policy that fits the style it serves.
//! Owns the unit tests of this module.
//! Must not know the routes that answer with these pages.

use std::sync::{Arc, LazyLock};

use axum::{
    http::{StatusCode, header::CONTENT_SECURITY_POLICY},
    response::Response,
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest, Sha256};

use super::{
    outcome,
    page::{FailureReason, Page},
    render::{STYLE, hardened_headers},
    text::cleaned,
};
use crate::{
    config::Settings,
    http::{
        brand::Brand,
        browser::{
            languages::{ENGLISH, LANGUAGES, texts::Texts},
            view::View,
        },
    },
};

const EVERY_REASON: [FailureReason; 9] = [
    FailureReason::Denied,
    FailureReason::ProviderRefused,
    FailureReason::InvalidState,
    FailureReason::StateUsed,
    FailureReason::WrongProvider,
    FailureReason::MissingParameters,
    FailureReason::ExchangeFailed,
    FailureReason::ProviderUnavailable,
    FailureReason::Internal,
];

async fn text(response: Response) -> String {
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

fn view() -> View {
    view_in(&ENGLISH, &Settings::default())
}

fn view_in(t: &'static Texts, settings: &Settings) -> View {
    let brand = Arc::new(Brand::open(settings).unwrap());
    View { brand, t, base: String::new(), request_id: Some("0a1b-2c".to_owned()), is_embedded: false, visit: None }
}

async fn shown(page: &Page<'_>) -> String {
    text(outcome::page(&view(), StatusCode::OK, page)).await
}

async fn failed(reason: FailureReason, error: &str, description: &str) -> String {
    shown(&Page::Failed { provider: Some("Sample"), reason, error: Some(error), error_description: Some(description) })
        .await
}

/// The inlined stylesheet, cut out of a page as a browser does.
fn style_of(page: &str) -> &str {
    let (_, rest) = page.split_once("<style>").unwrap();
    let (style, after) = rest.split_once("</style>").unwrap();
    assert!(!after.contains("<style"), "one stylesheet only");
    style
}

#[tokio::test]
async fn each_page_says_what_happened_and_what_to_do_next() {
    let connected = shown(&Page::Connected { provider: "Sample" }).await;
    assert!(connected.contains("<h1>Connected to Sample</h1>"), "{connected}");
    assert!(connected.contains("<title>Connected to Sample - agent-auth</title>"));
    assert!(connected.contains("You can close this window and return to your agent."));
    assert!(
        shown(&Page::AlreadyConnected { provider: "Sample" }).await.contains("<h1>Already connected to Sample</h1>")
    );
    assert!(shown(&Page::Updated).await.contains("<h1>Installation updated</h1>"));
    assert!(shown(&Page::Installed).await.contains("not connected to your account yet"));
    assert!(failed(FailureReason::Denied, "access_denied", "").await.contains("<h1>Access was not granted</h1>"));

    let nameless = shown(&Page::Failed {
        provider: None,
        reason: FailureReason::ProviderUnavailable,
        error: None,
        error_description: None,
    })
    .await;
    assert!(nameless.contains("<h1>The provider is not available</h1>"));
    assert!(!nameless.contains("class=\"answer\""), "no answer, no block for it");
}

#[tokio::test]
async fn a_provider_that_did_not_respond_is_not_said_to_have_answered() {
    for own in ["provider_unavailable", "provider_timeout", "provider_response", "address_refused"] {
        let page = failed(FailureReason::ProviderUnavailable, own, "no connection to the provider").await;
        assert!(page.contains("<h1>Sample is not available</h1>") && page.contains(">Details</h2>"), "{page}");
        assert!(!page.contains("answered") && page.contains(own), "{page}");
    }
    let page = failed(FailureReason::ProviderRefused, "invalid_scope", "").await;
    assert!(page.contains(">Sample answered</h2>"), "{page}");
}

#[tokio::test]
async fn a_failure_shows_the_request_id_that_its_log_lines_have() {
    for reason in EVERY_REASON {
        let page = failed(reason, "server_error", "").await;
        assert!(page.contains("Request ID: <code dir=\"ltr\">0a1b-2c</code>"), "{page}");
    }
    assert!(!shown(&Page::Connected { provider: "Sample" }).await.contains("Request ID"));
}

#[tokio::test]
async fn no_two_failures_look_alike() {
    let mut titles = std::collections::BTreeSet::new();
    for reason in EVERY_REASON {
        let page = failed(reason, "server_error", "").await;
        let (_, rest) = page.split_once("<h1>").unwrap();
        let (title, rest) = rest.split_once("</h1>").unwrap();
        assert!(!rest.contains("<h1"), "one heading of the first level");
        assert!(page.contains("<html lang=\"en\" dir=\"ltr\">") && page.contains("<main") && page.contains("<footer"));
        titles.insert(title.to_owned());
    }
    assert_eq!(titles.len(), EVERY_REASON.len());
}

#[tokio::test]
async fn texts_of_others_are_escaped() {
    let attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&lt;";
    let page = shown(&Page::Failed {
        provider: Some(attack),
        reason: FailureReason::ProviderRefused,
        error: Some(attack),
        error_description: Some(attack),
    })
    .await;
    let without_style = page.replace(style_of(&page), "");
    for forbidden in ["<script", "<img", "\"'>", "'><"] {
        assert!(!without_style.contains(forbidden), "{forbidden} in {without_style}");
    }
    assert_eq!(
        without_style.matches("&#60;script&#62;alert(1)").count(),
        5,
        "title, h1, heading, error and description"
    );
    assert!(without_style.contains("&#38;lt;"), "what is escaped already is escaped again");

    let connected = shown(&Page::Connected { provider: attack }).await;
    assert!(!connected.contains("<script") && connected.contains("&#60;script"));
}

#[tokio::test]
async fn a_link_without_a_request_puts_no_sentence_on_our_page() {
    for reason in EVERY_REASON {
        let vouched = !matches!(
            reason,
            FailureReason::InvalidState
                | FailureReason::StateUsed
                | FailureReason::WrongProvider
                | FailureReason::MissingParameters
        );
        let page = failed(reason, "temporarily_unavailable", "Call 0800 1234 to unlock").await;
        assert!(page.contains("temporarily_unavailable"), "{reason:?}: the code helps to find the fault");
        assert_eq!(page.contains("Call 0800 1234"), vouched, "{reason:?}");
        let page = failed(reason, "Call 0800 1234", "").await;
        assert_eq!(page.contains("Call 0800 1234"), vouched, "{reason:?}");
    }
}

#[tokio::test]
async fn texts_of_others_are_cut() {
    let provider = "p".repeat(500);
    let page = shown(&Page::Failed {
        provider: Some(&provider),
        reason: FailureReason::ProviderRefused,
        error: Some(&"e".repeat(500)),
        error_description: Some(&"d".repeat(5000)),
    })
    .await;
    assert!(page.contains(&format!("<h1>{}… refused", "p".repeat(79))));
    assert!(page.contains(&format!(">{}…</code>", "e".repeat(63))));
    assert!(page.contains(&format!(">{}…</p>", "d".repeat(299))));
}

#[test]
fn cleaning_keeps_what_can_be_read_and_nothing_else() {
    assert_eq!(cleaned("  plain \r\n\t text \u{2028} ", 64).as_deref(), Some("plain text"));
    assert_eq!(cleaned("a\0b\u{1b}[31mc\u{7f}\u{9b}", 64).as_deref(), Some("ab[31mc"));
    assert_eq!(
        cleaned("safe\u{202E}gpj.exe\u{202C}\u{2066}x\u{2069}\u{200F}\u{FEFF}", 64).as_deref(),
        Some("safegpj.exex")
    );
    assert_eq!(cleaned("שלום 👩\u{200D}💻", 64).as_deref(), Some("שלום 👩\u{200D}💻"));
    for empty in ["", "   ", "\0\u{202E}"] {
        assert_eq!(cleaned(empty, 64), None);
    }
}

#[test]
fn cutting_counts_characters_and_never_splits_one() {
    assert_eq!(cleaned("abcd", 4).as_deref(), Some("abcd"));
    assert_eq!(cleaned("abcd ", 4).as_deref(), Some("abcd"));
    assert_eq!(cleaned("abcde", 4).as_deref(), Some("abc…"));
    assert_eq!(cleaned("abc de", 4).as_deref(), Some("abc…"));
    assert_eq!(cleaned("ab cde", 4).as_deref(), Some("ab…"));
    assert_eq!(cleaned(&"é😀".repeat(3), 4).as_deref(), Some("é😀é…"));
    for length in 0..12 {
        for limit in 1..12 {
            let text: String = "aé 😀".chars().cycle().take(length).collect();
            assert!(cleaned(&text, limit).unwrap_or_default().chars().count() <= limit, "{text:?} in {limit}");
        }
    }
}

#[tokio::test]
async fn every_page_has_the_hardened_headers() {
    for (status, page) in [
        (StatusCode::OK, Page::Connected { provider: "Sample" }),
        (StatusCode::OK, Page::AlreadyConnected { provider: "Sample" }),
        (StatusCode::OK, Page::Updated),
        (StatusCode::OK, Page::Installed),
        (
            StatusCode::BAD_REQUEST,
            Page::Failed { provider: None, reason: FailureReason::InvalidState, error: None, error_description: None },
        ),
    ] {
        let response = outcome::page(&view(), status, &page);
        assert_eq!(response.status(), status);
        let headers = response.headers().clone();
        let value = |name: &str| {
            let mut values = headers.get_all(name).iter();
            let value = values.next().unwrap_or_else(|| panic!("no {name}")).to_str().unwrap();
            assert_eq!(values.next(), None, "{name} once");
            value
        };
        assert_eq!(value("content-type"), "text/html; charset=utf-8");
        assert_eq!(value("cache-control"), "no-store");
        assert_eq!(value("referrer-policy"), "no-referrer");
        assert_eq!(value("x-content-type-options"), "nosniff");
        assert_eq!(value("x-frame-options"), "DENY");
        assert_eq!(value("x-robots-tag"), "noindex");
        assert_eq!(value("cross-origin-opener-policy"), "same-origin");
        assert!(value("permissions-policy").contains("camera=()"));

        // The hash is taken from the style in the body, as the browser takes it, not from our constant.
        let policy = value("content-security-policy");
        let body = text(response).await;
        let hash = BASE64_STANDARD.encode(Sha256::digest(style_of(&body)));
        assert_eq!(
            policy,
            format!(
                "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            )
        );
        assert!(
            !body.contains("style=\"")
                && !body.contains("<script")
                && !body.contains("href=")
                && !body.contains("src=")
        );
    }
}

#[test]
fn the_stylesheet_can_be_inlined_and_loads_nothing() {
    assert!(!STYLE.contains('\r'), "browsers hash the text after turning CRLF into LF");
    assert!(!STYLE.contains("</") && !STYLE.contains("url(") && !STYLE.contains("@import"));
}

#[test]
fn a_policy_that_cannot_be_written_gives_way_to_a_stricter_one() {
    let headers = hardened_headers("https://example.com\n");
    let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'")
            && policy.contains("form-action 'none'")
            && !policy.contains("style-src")
    );
}

#[tokio::test]
async fn a_failure_is_said_in_every_language_and_no_two_are_alike() {
    for t in LANGUAGES {
        let view = view_in(t, &Settings::default());
        let mut titles = std::collections::BTreeSet::new();
        for reason in EVERY_REASON {
            for provider in [None, Some("Sample")] {
                let page = Page::Failed { provider, reason, error: None, error_description: None };
                let response = outcome::page(&view, StatusCode::BAD_REQUEST, &page);
                assert_eq!(response.headers()["content-language"], t.tag);
                assert_eq!(response.headers()["vary"], "accept-language");
                let page = text(response).await;
                assert!(page.contains(&format!("<html lang=\"{}\" dir=\"ltr\">", t.tag)), "{page}");
                titles.insert(page.split_once("<h1>").unwrap().1.split_once("</h1>").unwrap().0.to_owned());
            }
        }
        // Three of the titles name the provider.
        assert_eq!(titles.len(), EVERY_REASON.len() + 3, "{titles:?}");
    }
}

#[tokio::test]
async fn a_language_that_is_written_from_right_to_left_is_said_to_be() {
    static ARABIC: LazyLock<Texts> = LazyLock::new(|| Texts { tag: "ar", is_rtl: true, ..ENGLISH });
    let view = view_in(&ARABIC, &Settings::default());
    let page = text(outcome::page(&view, StatusCode::OK, &Page::Updated)).await;
    assert!(page.contains("<html lang=\"ar\" dir=\"rtl\">"), "{page}");
}

#[tokio::test]
async fn a_brand_is_on_every_page_and_its_name_is_text() {
    let mut logo = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut logo, b"<svg/>").unwrap();
    let settings = Settings {
        brand_name: Some("B\u{fc}cher & <b>".to_owned()),
        brand_logo: Some(logo.path().to_owned()),
        brand_color: Some("#b00020".to_owned()),
        support_url: Some("mailto:help@example.com".to_owned()),
        privacy_url: Some("https://example.com/privacy?a=1&b=\"".to_owned()),
        ..Settings::default()
    };
    let response = outcome::page(&view_in(&ENGLISH, &settings), StatusCode::OK, &Page::Updated);
    let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    let page = text(response).await;
    assert!(page.contains("<title>Installation updated - B\u{fc}cher &#38; &#60;b&#62;</title>"), "{page}");
    assert!(
        page.contains("<img src=\"/brand/logo\" alt=\"\"><span dir=\"auto\">B\u{fc}cher &#38; &#60;b&#62;</span>"),
        "{page}"
    );
    assert!(page.contains("href=\"mailto:help@example.com\" target=\"_blank\" rel=\"noopener noreferrer\">Help</a>"));
    assert!(page.contains("href=\"https://example.com/privacy?a=1&#38;b=&#34;\""), "{page}");
    let hash = BASE64_STANDARD.encode(Sha256::digest(style_of(&page)));
    assert!(
        style_of(&page).contains("--fill:#b00020")
            && policy.contains(&format!("style-src 'sha256-{hash}'; img-src 'self';"))
    );
    assert!(!page.contains("agent-auth"), "{page}");
}
