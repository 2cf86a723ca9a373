//! Bodies with fields of people's own choice: what is known is taken out, and the rest is their profile.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::protocol::WireError;

/// Everything that a body says, by name.
pub(super) type Fields = BTreeMap<String, Value>;

/// Takes a text out that must be there; `names` are its spellings, the first one is its own.
///
/// # Errors
/// It is missing, or no text.
pub(super) fn text(fields: &mut Fields, names: &[&str]) -> Result<String, WireError> {
    let name = names.first().copied().unwrap_or_default();
    optional(fields, names)?.ok_or_else(|| WireError::bad_field(name, format!("{name} is required")))
}

/// The same for a text that may be left out, or be null.
///
/// # Errors
/// It is no text.
pub(super) fn optional(fields: &mut Fields, names: &[&str]) -> Result<Option<String>, WireError> {
    for name in names {
        match fields.remove(*name) {
            Some(Value::String(text)) => return Ok(Some(text)),
            Some(Value::Null) | None => (),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                return Err(WireError::bad_field(*name, format!("{name} must be a text")));
            }
        }
    }
    Ok(None)
}
