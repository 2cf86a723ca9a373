//! Readers of single fields that take more than their types say.

use serde::de::value::StringDeserializer;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Number, Value};

/// `null` is as good as absent.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(field: D) -> Result<T, D::Error> {
    Option::deserialize(field).map(Option::unwrap_or_default)
}

/// One of the words that `T` knows. What is no word at all is refused like a wrong one: with those that there are.
pub(super) fn word_or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    field: D,
) -> Result<T, D::Error> {
    let word = match Option::<Value>::deserialize(field)? {
        None => return Ok(T::default()),
        Some(Value::String(word)) => word,
        Some(other) => other.to_string(),
    };
    T::deserialize(StringDeserializer::<D::Error>::new(word))
}

/// A whole number from 0, as large as it may be: what is over the type's limit is its limit.
pub(super) fn count<'de, D: Deserializer<'de>>(field: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(field)? else { return Ok(None) };
    match number.as_u64() {
        Some(count) => Ok(Some(u32::try_from(count).unwrap_or(u32::MAX))),
        // What is written as a fraction only because it is too large for an integer.
        None if number.as_f64().is_some_and(|count| count >= 18_446_744_073_709_551_615.0) => Ok(Some(u32::MAX)),
        None => Err(de::Error::custom(format_args!("expected a whole number from 0, got {number}"))),
    }
}
