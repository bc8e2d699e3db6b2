//! `/openapi.json` describes everything of the published API (`published_wire.json`); additions are allowed.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::support::app::TestApp;
use crate::support::both_databases;

both_databases! {
    every_published_operation_is_described,
    every_published_parameter_is_described,
    every_published_body_field_is_described,
    every_published_answer_is_described,
    the_description_is_openapi_3_1_and_names_the_key_header,
    each_operation_has_a_name_of_its_own_and_describes_every_response,
    each_operation_that_needs_a_key_lists_its_headers_and_common_errors,
    examples_are_of_their_schema,
    the_documentation_loads_nothing_from_elsewhere,
}

const PUBLISHED: &str = include_str!("published_wire.json");

struct Operation {
    name: String,
    published: Value,
    described: Value,
    document: Value,
}

async fn operations(app: &TestApp) -> Vec<Operation> {
    let document = app.anonymous().get("/openapi.json").await.expect(200);
    let published: Map<String, Value> = serde_json::from_str(PUBLISHED).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in published {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push(Operation {
                name: format!("{method} {path}"),
                published: operation.clone(),
                described: document["paths"][&path][method].clone(),
                document: document.clone(),
            });
        }
    }
    assert_eq!(operations.len(), 22);
    operations
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').expect("a local reference");
            let target = document.pointer(pointer);
            resolved(document, target.unwrap_or_else(|| panic!("{reference}")))
        }
        None => schema,
    }
}

/// The types that a schema allows, in the fixture's way of writing: `null|string`, `array<string>`.
fn kinds(document: &Value, schema: &Value) -> Vec<String> {
    let schema = resolved(document, schema);
    for union in ["oneOf", "anyOf", "allOf"] {
        if let Some(members) = schema[union].as_array() {
            let mut all: Vec<_> = members.iter().flat_map(|m| kinds(document, m)).collect();
            all.sort();
            all.dedup();
            return all;
        }
    }
    let names = match &schema["type"] {
        Value::String(name) => vec![name.clone()],
        Value::Array(names) => names.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
        _ => vec!["any".to_owned()],
    };
    let mut all: Vec<_> = names
        .into_iter()
        .map(|name| match name.as_str() {
            "array" => format!("array<{}>", kinds(document, &schema["items"]).join("|")),
            _ => name,
        })
        .collect();
    all.sort();
    all
}

fn properties(document: &Value, schema: &Value) -> Map<String, Value> {
    let schema = resolved(document, schema);
    if schema["type"] == "array" {
        return properties(document, &schema["items"]);
    }
    let mut all = schema["properties"].as_object().cloned().unwrap_or_default();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        all.extend(properties(document, part));
    }
    all
}

fn required(document: &Value, schema: &Value) -> Vec<String> {
    let schema = resolved(document, schema);
    let names = schema["required"].as_array().cloned().unwrap_or_default();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

async fn every_published_operation_is_described(app: TestApp) {
    for operation in operations(&app).await {
        assert!(operation.described.is_object(), "{} is missing", operation.name);
    }
}

async fn every_published_parameter_is_described(app: TestApp) {
    for operation in operations(&app).await {
        let described = operation.described["parameters"].as_array().cloned();
        let described = described.unwrap_or_default();
        let Some(published) = operation.published["parameters"].as_object() else {
            continue;
        };
        for (name, how) in published {
            let words: Vec<_> = how.as_str().unwrap().split(' ').collect();
            let found = described
                .iter()
                .map(|parameter| resolved(&operation.document, parameter))
                .find(|parameter| parameter["name"] == name.as_str() && parameter["in"] == words[0])
                .unwrap_or_else(|| panic!("{}: parameter {name} is missing", operation.name));
            let must = words.get(2).is_some();
            assert_eq!(
                found["required"].as_bool().unwrap_or_default(),
                must,
                "{}: whether {name} is required",
                operation.name
            );
            let kinds = kinds(&operation.document, &found["schema"]);
            let published_kinds: Vec<_> = words[1].split('|').collect();
            assert!(
                published_kinds.iter().all(|kind| *kind == "null" || kinds.iter().any(|k| k == kind)),
                "{}: {name} is {kinds:?}, published {published_kinds:?}",
                operation.name
            );
        }
    }
}

async fn every_published_body_field_is_described(app: TestApp) {
    let mut wrong = Vec::new();
    for operation in operations(&app).await {
        let Some(published) = operation.published["body"].as_object() else {
            continue;
        };
        let schema = &operation.described["requestBody"]["content"]["application/json"]["schema"];
        let described = properties(&operation.document, schema);
        let required = required(&operation.document, schema);
        for (field, how) in published {
            let how = how.as_str().unwrap();
            let (kinds_published, must) = how.split_once(' ').map_or((how, false), |(kinds, _)| (kinds, true));
            let place = format!("{}: {field}", operation.name);
            let Some(found) = described.get(field) else {
                wrong.push(format!("{place} is missing"));
                continue;
            };
            if required.contains(field) != must {
                wrong.push(format!("{place} is published as required: {must}"));
            }
            let kinds = kinds(&operation.document, found);
            if !kinds_published.split('|').all(|kind| kinds.iter().any(|k| k == kind)) {
                wrong.push(format!("{place} is {kinds:?}, published {kinds_published}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn every_published_answer_is_described(app: TestApp) {
    for operation in operations(&app).await {
        let published = operation.published["responses"].as_object().unwrap();
        for (status, fields) in published {
            let described = &operation.described["responses"][status];
            let described = resolved(&operation.document, described);
            let name = &operation.name;
            assert!(described.is_object(), "{name}: answer {status} is missing");
            let schema = &described["content"]["application/json"]["schema"];
            let properties = properties(&operation.document, schema);
            for (field, kind) in fields.as_object().unwrap() {
                // Published as optional and never sent: the input of a refused request.
                if status == "422" && field != "detail" {
                    continue;
                }
                let found = properties.get(field).unwrap_or_else(|| panic!("{name}: {status} lacks {field}"));
                let kinds = kinds(&operation.document, found);
                let published: Vec<_> = kind.as_str().unwrap().split('|').collect();
                assert!(
                    kinds
                        .iter()
                        .all(|k| published.contains(&k.as_str()) || k.starts_with("array<") || published == ["any"]),
                    "{name}: {status} {field} is {kinds:?}, published {published:?}"
                );
            }
        }
    }
}

async fn the_description_is_openapi_3_1_and_names_the_key_header(app: TestApp) {
    let document = app.anonymous().get("/openapi.json").await.expect(200);
    let version = document["openapi"].as_str().unwrap();
    assert!(version.starts_with("3.1"), "{version}");
    let schemes = document["components"]["securitySchemes"].to_string();
    assert!(schemes.to_lowercase().contains("x-api-key"), "{schemes}");
}

/// The name of each operation and what is described of it.
fn described_operations(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (format!("{method} {path}"), operation.clone()))
    });
    all.collect()
}

async fn each_operation_has_a_name_of_its_own_and_describes_every_response(app: TestApp) {
    let document = app.anonymous().get("/openapi.json").await.expect(200);
    let mut names = BTreeSet::new();
    for (operation, described) in described_operations(&document) {
        let name = described["operationId"].as_str().unwrap();
        assert!(name.chars().all(|character| character.is_ascii_alphabetic()), "{operation}: {name}");
        assert!(names.insert(name.to_owned()), "{operation}: {name} is also another operation");
        for (status, response) in described["responses"].as_object().unwrap() {
            assert!(!response["description"].as_str().unwrap_or_default().is_empty(), "{operation}: {status}");
        }
    }
    assert!(names.contains("listProviders") && names.contains("waitForAuthentication"), "{names:?}");
}

async fn each_operation_that_needs_a_key_lists_its_headers_and_common_errors(app: TestApp) {
    let document = app.anonymous().get("/openapi.json").await.expect(200);
    let mut open = Vec::new();
    for (operation, described) in described_operations(&document) {
        if described["security"].is_array() {
            open.push(described["operationId"].as_str().unwrap().to_owned());
            continue;
        }
        let parameters = described["parameters"].as_array().unwrap();
        for header in ["X-User-Id", "X-Tenant-Id"] {
            let found = parameters.iter().find(|parameter| parameter["name"] == header && parameter["in"] == "header");
            assert!(found.is_some_and(|found| found["required"] != true), "{operation}: {header}");
        }
        for (status, code) in [("401", "unauthorized"), ("429", "rate_limited"), ("503", "database_unavailable")] {
            let response = &described["responses"][status];
            let body = &response["content"]["application/json"]["schema"];
            assert!(properties(&document, body).contains_key("code"), "{operation}: {status} has no body");
            assert!(response["description"].as_str().unwrap().contains(code), "{operation}: {status} {response}");
        }
    }
    open.sort();
    assert_eq!(open, ["receiveCallback", "receiveSetup"]);
}

async fn examples_are_of_their_schema(app: TestApp) {
    let document = app.anonymous().get("/openapi.json").await.expect(200);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut seen = 0;
    for (name, schema) in schemas.iter().filter(|(_, schema)| schema["example"].is_object()) {
        let example = schema["example"].as_object().unwrap();
        let properties = properties(&document, schema);
        assert!(example.keys().all(|field| properties.contains_key(field)), "{name}: {example:?}");
        let required = required(&document, schema);
        assert!(
            required.iter().all(|field| example.contains_key(field)),
            "{name}: {example:?} lacks some of {required:?}"
        );
        seen += 1;
    }
    assert!(seen >= 15, "{seen}");
}

async fn the_documentation_loads_nothing_from_elsewhere(app: TestApp) {
    let mut page = app.anonymous().get("/docs").await;
    if page.status.is_redirection() {
        let location = page.header("location").to_owned();
        page = app.anonymous().get(&location).await;
    }
    let html = page.expect_html(200);
    for elsewhere in ["src=\"http", "href=\"http", "src=\"//", "@import"] {
        assert!(!html.contains(elsewhere), "{html}");
    }
}

/// A change of the wire shows in the review of its commit: `cargo insta review`, or `INSTA_UPDATE=always`, accepts it.
#[tokio::test]
async fn the_whole_description_is_as_reviewed() {
    let described = crate::support::binary::run(&["openapi"], &[]).await;
    let mut document: Value = serde_json::from_str(&described.stdout).unwrap();
    document["info"]["version"] = "[version]".into();
    insta::assert_json_snapshot!("openapi", document);
}
