//! Reading bodies: JSON field by field, so that every fault is reported at once.
//! Owns: the types of values, and the names of their faults (those of pydantic, which clients expect).
//! Must not know: what the fields are for.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use axum::{
    body::Bytes,
    extract::{
        FromRequest, OptionalFromRequest, Request,
        rejection::{BytesRejection, FailedToBufferBody},
    },
};
use futures_util::FutureExt;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::{self, ApiError};
use crate::broker::rules::{self, Fault, Problem};

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// A rule for a text.
pub type Rule<'r> = &'r dyn Fn(&str) -> Result<(), Problem>;

/// A JSON body that is not parsed yet.
pub struct JsonBody(pub Value);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = whole(request, state).await?;
        if bytes.is_empty() {
            let fault = error::Fault { loc: vec!["body".into()], msg: "Field required".into(), kind: "missing" };
            return Err(ApiError::Faults(vec![fault]));
        }
        parse(&bytes)
    }
}

/// For operations whose body is optional.
impl<S: Send + Sync> OptionalFromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, ApiError> {
        let bytes = whole(request, state).await?;
        if bytes.is_empty() { Ok(None) } else { parse(&bytes).map(Some) }
    }
}

/// The whole body, if it arrives in time and is not too large.
pub(in crate::http) async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    let mut body = pin!(Bytes::from_request(request, state));
    let whole = match body.as_mut().now_or_never() {
        // Most bodies come with their heads; then nothing has to be timed.
        Some(whole) => whole,
        None => tokio::time::timeout(BODY_TIMEOUT, body).await.map_err(|_| ApiError::BodyTimeout)?,
    };
    whole.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => ApiError::TooLarge,
        // RFC 9112 section 6.3: an invalid chunk, for example.
        _ => ApiError::BadRequest("The request body is not valid HTTP/1.1, or ended too early.".into()),
    })
}

fn parse(bytes: &[u8]) -> Result<JsonBody, ApiError> {
    serde_json::from_slice(bytes).map(JsonBody).map_err(|error| {
        let position = byte_position(bytes, error.line(), error.column());
        let loc = vec!["body".into(), position.into()];
        ApiError::Faults(vec![error::Fault { loc, msg: "JSON decode error".into(), kind: "json_invalid" }])
    })
}

fn byte_position(bytes: &[u8], line: usize, column: usize) -> usize {
    let before: usize =
        bytes.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    (before + column.saturating_sub(1)).min(bytes.len())
}

/// The fields of an object, read one after the other. Faults are gathered; [`Fields::finish`] reports them all.
pub struct Fields<'v> {
    object: Option<&'v Map<String, Value>>,
    faults: Vec<Fault>,
}

impl<'v> Fields<'v> {
    /// The fields of a body.
    #[must_use]
    pub fn of_body(body: &'v JsonBody) -> Self {
        let mut fields = Self { object: body.0.as_object(), faults: Vec::new() };
        if fields.object.is_none() {
            let msg = "Input should be a valid dictionary or object to extract fields from";
            fields.fault(&[], ("model_attributes_type", msg.into()));
        }
        fields
    }

    /// A required text.
    pub fn required_text(&mut self, name: &'static str, rule: Rule<'_>) -> String {
        match self.required(name) {
            Some(value) => self.text(&[name.into()], value, rule).unwrap_or_default(),
            None => String::new(),
        }
    }

    /// A text that may be absent or null.
    pub fn optional_text(&mut self, name: &'static str, rule: Rule<'_>) -> Option<String> {
        let value = self.present(name)?;
        self.text(&[name.into()], value, rule)
    }

    /// A required list of texts.
    pub fn required_texts(&mut self, name: &'static str, max: usize, rule: Rule<'_>) -> Vec<String> {
        match self.required(name) {
            Some(value) => self.texts(name, value, max, rule),
            None => Vec::new(),
        }
    }

    /// A list of texts that may be absent or null.
    pub fn optional_texts(&mut self, name: &'static str, max: usize, rule: Rule<'_>) -> Option<Vec<String>> {
        let value = self.present(name)?;
        Some(self.texts(name, value, max, rule))
    }

    /// An object of texts that may be absent or null.
    pub fn optional_map(&mut self, name: &'static str, max: usize, rule: Rule<'_>) -> Option<BTreeMap<String, String>> {
        let Value::Object(object) = self.present(name)? else {
            self.fault(&[name.into()], ("dict_type", "Input should be a valid dictionary".into()));
            return None;
        };
        if object.len() > max {
            self.fault(&[name.into()], ("too_long", format!("Dictionary should have at most {max} items")));
            return None;
        }
        let mut map = BTreeMap::new();
        for (key, value) in object {
            // The key is input: it is repeated in the fault only if it is harmless.
            let harmless = key.len() <= 64 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
            let step = if harmless { key.as_str() } else { "[key]" };
            let named = rules::parameter_name(key).map_err(|problem| self.fault(&[name.into(), step.into()], problem));
            let text = self.text(&[name.into(), step.into()], value, rule);
            if let (Ok(()), Some(text)) = (named, text) {
                map.insert(key.clone(), text);
            }
        }
        Some(map)
    }

    /// One of these names that may be absent or null.
    pub fn optional_name<T: Copy>(&mut self, name: &'static str, names: &[(&'static str, T)]) -> Option<T> {
        let value = self.present(name)?;
        let text = self.text(&[name.into()], value, &|_| Ok(()))?;
        let named = names.iter().find(|(known, _)| *known == text).map(|(_, value)| *value);
        if named.is_none() {
            self.fault(&[name.into()], literal_error(names.iter().map(|(known, _)| *known)));
        }
        named
    }

    /// True or false, with a default.
    pub fn boolean(&mut self, name: &'static str, default: bool) -> bool {
        match self.object.and_then(|object| object.get(name)) {
            None => default,
            Some(value) => self.bool(name, value).unwrap_or(default),
        }
    }

    /// True or false that may be absent, but not null.
    pub fn boolean_if_named(&mut self, name: &'static str) -> Option<bool> {
        let value = self.object?.get(name)?;
        self.bool(name, value)
    }

    /// True or false, or absent or null.
    pub fn optional_boolean(&mut self, name: &'static str) -> Option<bool> {
        let value = self.present(name)?;
        self.bool(name, value)
    }

    /// A whole number from 0 to `max` that may be absent or null.
    pub fn optional_integer(&mut self, name: &'static str, max: i64) -> Option<i64> {
        let value = self.present(name)?;
        let problem = match value.as_i64() {
            Some(number) if number < 0 => ("greater_than_equal", "Input should be greater than or equal to 0".into()),
            Some(number) if number > max => ("less_than_equal", format!("Input should be less than or equal to {max}")),
            Some(number) => return Some(number),
            None if value.is_string() => ("int_parsing", "Input should be a valid integer, not a string".to_owned()),
            None => ("int_type", "Input should be a valid integer".to_owned()),
        };
        self.fault(&[name.into()], problem);
        None
    }

    /// A UUID that may be absent or null.
    pub fn optional_uuid(&mut self, name: &'static str) -> Option<Uuid> {
        let value = self.present(name)?;
        let text = self.text(&[name.into()], value, &|_| Ok(()))?;
        let parsed = Uuid::try_parse(&text).ok();
        if parsed.is_none() {
            self.fault(&[name.into()], ("uuid_parsing", "Input should be a valid UUID".into()));
        }
        parsed
    }

    /// True when the field is present, even if it is null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.object.is_some_and(|object| object.contains_key(name))
    }

    /// True when the field is present and null.
    #[must_use]
    pub fn is_null(&self, name: &str) -> bool {
        self.has(name) && self.is_absent(name)
    }

    /// True when the field is absent or null.
    #[must_use]
    pub fn is_absent(&self, name: &str) -> bool {
        self.present(name).is_none()
    }

    /// Adds a fault that the rules of single fields do not cover.
    pub fn fault(&mut self, path: &[Value], (kind, message): Problem) {
        self.faults.push(Fault { path: path.to_vec(), kind, message });
    }

    /// Ends the reading: an error if there are faults.
    pub fn finish(self) -> Result<(), ApiError> {
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults.into()) }
    }

    /// The faults so far, for a caller that adds more.
    #[must_use]
    pub fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    fn required(&mut self, name: &'static str) -> Option<&'v Value> {
        let value = self.object?.get(name);
        if value.is_none() {
            self.fault(&[name.into()], ("missing", "Field required".into()));
        }
        value
    }

    fn present(&self, name: &str) -> Option<&'v Value> {
        self.object?.get(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, path: &[Value], value: &Value, rule: Rule<'_>) -> Option<String> {
        let checked = match value.as_str() {
            None => Err(("string_type", "Input should be a valid string".into())),
            Some(text) => rule(text).map(|()| text.to_owned()),
        };
        checked.map_err(|problem| self.fault(path, problem)).ok()
    }

    fn texts(&mut self, name: &'static str, value: &Value, max: usize, rule: Rule<'_>) -> Vec<String> {
        let Some(list) = value.as_array() else {
            self.fault(&[name.into()], ("list_type", "Input should be a valid list".into()));
            return Vec::new();
        };
        if list.len() > max {
            let problem = format!("List should have at most {max} items after validation, not {}", list.len());
            self.fault(&[name.into()], ("too_long", problem));
            return Vec::new();
        }
        let mut texts: Vec<String> = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            let text = self.text(&[name.into(), index.into()], value, rule);
            texts.extend(text.filter(|text| !texts.contains(text)));
        }
        texts
    }

    fn bool(&mut self, name: &'static str, value: &Value) -> Option<bool> {
        let problem = match value {
            Value::Bool(value) => return Some(*value),
            Value::String(_) => {
                ("bool_parsing", "Input should be a valid boolean, unable to interpret input".to_owned())
            }
            _ => ("bool_type", "Input should be a valid boolean".to_owned()),
        };
        self.fault(&[name.into()], problem);
        None
    }
}

/// The problem of a text that is not one of `names`.
pub fn literal_error<'n>(names: impl IntoIterator<Item = &'n str>) -> Problem {
    let names: Vec<String> = names.into_iter().map(|name| format!("'{name}'")).collect();
    let expected = match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.concat(),
    };
    ("literal_error", format!("Input should be {expected}"))
}
