//! The values that each field and each body is tried with.

use serde_json::{Value, json};

use super::{NOBODY, Operation};

/// Words that some field accepts, or nearly accepts.
const WORDS: [&str; 24] = [
    "none",
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "authorization_code",
    "client_credentials",
    "api_key",
    "device",
    "refresh_token",
    "S256",
    "plain",
    "s256",
    "microsoft",
    "github",
    "githb",
    "form",
    "json",
    "true",
    "1",
    " ",
    ",",
    "+",
    "read",
    "00000000000040008000000000000000",
];

const NAMES: [&str; 12] =
    ["acme.v2_a-b", "../acme", "..", "a..b", "a/b", "a b", "-a", ".a", "a\\b", "a\"b", "%2e%2e", "ümlaut"];

fn urls() -> Vec<String> {
    let host = NOBODY.trim_start_matches("http://");
    vec![
        format!("{NOBODY}/a"),
        format!("https://{host}/a?b=c"),
        format!("{NOBODY}/a#fragment"),
        format!("https://user@{host}/a"),
        format!("https://user:password@{host}/a"),
        format!("https://{host}/{{tenant}}/a"),
        format!("https://{host}/<tenant>/a"),
        format!("https://{host}/YOUR_TENANT/a"),
        format!("https://{host}/YOUR-TENANT/a"),
        "https://{tenant}.example/a".to_owned(),
        "https://".to_owned(),
        "https:///a".to_owned(),
        "//acme.example/a".to_owned(),
        "/a".to_owned(),
        "acme.example".to_owned(),
        "ftp://acme.example/a".to_owned(),
        "ftp:a".to_owned(),
        "javascript:alert(1)".to_owned(),
        "urn:acme:resource".to_owned(),
        "com.acme.app:/callback".to_owned(),
        "http://localhost:1/a".to_owned(),
        "http://[::1]:1/a".to_owned(),
        "https://[::1/a".to_owned(),
        "https://a b/c".to_owned(),
        padded(2048),
        padded(2049),
    ]
}

/// A URL of that many characters.
fn padded(length: usize) -> String {
    let start = format!("{NOBODY}/");
    format!("{start}{}", "a".repeat(length - start.len()))
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("a{n}")).collect()
}

fn numbered_map(count: usize) -> Value {
    numbered(count).into_iter().map(|name| (name, Value::from("b"))).collect::<serde_json::Map<_, _>>().into()
}

/// Every field is tried with these: the label, and the value.
pub fn of(field: &str) -> Vec<(String, Value)> {
    let mut probes = scalars();
    let takes_url = ["url", "uri", "issuer", "resource"].iter().any(|part| field.contains(part));
    let mut texts: Vec<String> = WORDS.iter().chain(&NAMES).map(|text| (*text).to_owned()).collect();
    if takes_url {
        texts.extend(urls());
    }
    for text in texts {
        let shown = if text.len() > 80 { format!("URL of {}", text.len()) } else { format!("{text:?}") };
        probes.push((format!("[{shown}]"), json!([text])));
        probes.push((shown, json!(text)));
    }
    probes.extend(lists());
    probes.extend(maps());
    probes
}

fn scalars() -> Vec<(String, Value)> {
    let mut probes: Vec<(String, Value)> = Vec::new();
    for value in [
        json!(null),
        json!(0),
        json!(1),
        json!(7),
        json!(-1),
        json!(-7),
        json!(1.5),
        json!(7.0),
        json!(1e30),
        json!(86_400),
        json!(86_401),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(true),
        json!(false),
        json!(""),
        json!("   "),
        json!(" a "),
        json!("a"),
        json!("a\0b"),
        json!("a\nb"),
        json!("a\tb"),
        json!("a\u{7f}b"),
        json!("a\u{85}b"),
        json!("a\u{200b}b"),
        json!("😀"),
    ] {
        probes.push((label(&value), value));
    }
    for length in [128, 129, 256, 257, 512, 513, 2048, 2049, 8192, 8193] {
        probes.push((format!("{length} a"), json!("a".repeat(length))));
        probes.push((format!("[{length} a]"), json!(["a".repeat(length)])));
    }
    for length in [128, 129, 256, 257, 512, 513] {
        probes.push((format!("{length} ü"), json!("ü".repeat(length))));
    }
    probes
}

fn label(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

fn lists() -> Vec<(String, Value)> {
    let mut probes: Vec<(String, Value)> = [
        json!([]),
        json!([null]),
        json!([7]),
        json!([""]),
        json!(["   "]),
        json!(["a\nb"]),
        json!(["a", "a"]),
        json!(["a", 7, null, "", true, ["b"], {"c": "d"}, "e\0f"]),
        json!([[]]),
        json!([{}]),
    ]
    .into_iter()
    .map(|value| (label(&value), value))
    .collect();
    for count in [50, 51, 200, 201] {
        probes.push((format!("{count} items"), json!(numbered(count))));
    }
    probes.push(("201 items, all the same".to_owned(), json!(vec!["a"; 201])));
    probes.push(("201 numbers".to_owned(), json!(vec![7; 201])));
    probes
}

fn maps() -> Vec<(String, Value)> {
    let mut probes: Vec<(String, Value)> = [
        json!({}),
        json!({"a": "b"}),
        json!({"a": ""}),
        json!({"a": null}),
        json!({"a": 7}),
        json!({"a": true}),
        json!({"a": ["b"]}),
        json!({"a": {"b": "c"}}),
        json!({"a": "b\nc"}),
        json!({"": "b"}),
        json!({"a\nb": "c"}),
        json!({"a b": 7}),
        json!({"ü": 7}),
        json!({"z": 7, "a": "b", "c-d.e_f": "\0", "": null, "\0": "g"}),
        json!({"tenant": "common"}),
        json!({"tenant": "a/b", "host": "{host}"}),
        json!({"client_id": "b", "state": "c"}),
    ]
    .into_iter()
    .map(|value| (label(&value), value))
    .collect();
    for length in [64, 65, 128, 129] {
        probes.push((format!("{{{length} k: a}}"), json!({"k".repeat(length): "a"})));
        probes.push((format!("{{{length} k: 7}}"), json!({"k".repeat(length): 7})));
    }
    for length in [2048, 2049] {
        probes.push((format!("{{a: {length} v}}"), json!({"a": "v".repeat(length)})));
    }
    for count in [50, 51] {
        probes.push((format!("{{{count} entries}}"), numbered_map(count)));
    }
    probes
}

/// Bodies as a whole: what is no JSON, what is no object, and many faults at once.
pub fn whole_bodies(operation: &Operation) -> Vec<(String, Vec<u8>)> {
    let mut bodies: Vec<(String, Vec<u8>)> = Vec::new();
    for text in [
        "",
        " ",
        "\n",
        "null",
        "7",
        "-1.5",
        "true",
        "\"text\"",
        "[]",
        "[{}]",
        "{}",
        "{",
        "}",
        "{\"",
        "{\"a\"",
        "{\"a\":",
        "{\"a\": 1",
        "{\"a\": 1,}",
        "{\"a\": 1 \"b\": 2}",
        "{'a': 1}",
        "{a: 1}",
        "{\"a\": [}",
        "{\"a\": NaN}",
        "{\"a\": 01}",
        "{\"a\": 1e400}",
        "{\"a\": \"\\ud800\"}",
        "{\"a\": \"\\x\"}",
        "{\"a\": \"\n\"}",
        "{} {}",
        "{}x",
        "{\n  \"a\": 1,\n  \"b\": \n}",
        "{\n\"ü\": tru\n}",
        "\u{feff}{}",
        "// a\n{}",
        "text",
    ] {
        bodies.push((format!("{text:?}"), text.into()));
    }
    bodies.push(("invalid UTF-8".to_owned(), b"{\"a\": \"\xff\"}".to_vec()));
    bodies.push(("invalid UTF-8 outside of a text".to_owned(), b"\xff".to_vec()));
    bodies.push(("127 lists in each other".to_owned(), nested(127)));
    bodies.push(("128 lists in each other".to_owned(), nested(128)));
    bodies.push(("100000 open lists".to_owned(), "[".repeat(100_000).into()));
    bodies.push(("too large".to_owned(), format!("{{\"a\": \"{}\"}}", "a".repeat(256 * 1024)).into()));
    bodies.push(("as accepted".to_owned(), operation.accepted.to_string().into()));
    for value in [json!(null), json!(7), json!(true), json!("a"), json!(""), json!("\0"), json!([7]), json!({"a": 7})] {
        let every = operation.fields.iter().map(|field| ((*field).to_owned(), value.clone()));
        let mut every = every.collect::<serde_json::Map<_, _>>();
        bodies.push((format!("every field {}", label(&value)), Value::from(every.clone()).to_string().into()));
        // A wrong issuer is told alone.
        if every.remove("issuer").is_some() {
            let label = format!("every field but the issuer {}", label(&value));
            bodies.push((label, Value::from(every).to_string().into()));
        }
    }
    let accepted = operation.accepted.to_string();
    let inside = accepted.trim_start_matches('{').trim_end_matches('}');
    let comma = if inside.is_empty() { "" } else { "," };
    for field in &operation.fields {
        let twice = format!("{{\"{field}\": 7{comma}{inside}}}");
        bodies.push((format!("{field} 7, then as accepted"), twice.into()));
        let twice = format!("{{{inside}{comma}\"{field}\": 7}}");
        bodies.push((format!("as accepted, then {field} 7"), twice.into()));
    }
    let more = format!("{{{inside}{comma}\"unknown\": {{\"a\": [7]}}}}");
    bodies.push(("as accepted, and a field that nobody knows".to_owned(), more.into()));
    bodies
}

fn nested(depth: usize) -> Vec<u8> {
    format!("{{\"a\": {}{}}}", "[".repeat(depth), "]".repeat(depth)).into()
}
