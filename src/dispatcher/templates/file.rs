//! What a template's file may hold, and what it means as a job's spec and parameters.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Number, Value};

use super::TemplateError;
use crate::config::{Size, Span, read_toml};
use crate::model::template::{Kind, Param, TEXT_BYTES};
use crate::model::{InvalidSpec, Template};
use crate::protocol::WireError;
use crate::protocol::spec as wire;

/// The template that a file of this text describes.
///
/// # Errors
/// `Toml` or `Wrong`, which name `path`.
pub(super) fn parse(name: &str, path: &Path, text: &str) -> Result<Template, TemplateError> {
    let wrong = |error: WireError| TemplateError::Wrong {
        path: path.to_owned(),
        field: error.field.unwrap_or_default(),
        message: error.message,
    };
    let mut file: File = read_toml(path, text)?;
    let description = file.description.take();
    let (base, params) = file.into_parts().map_err(wrong)?;
    Ok(Template::new(name, base, params).map_err(wrong)?.described(description))
}

/// A template's file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    description: Option<String>,
    command: Option<String>,
    args: Option<Vec<String>>,
    image: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<String>,
    name: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    priority: i32,
    timeout: Option<Span>,
    queue_timeout: Option<Span>,
    grace: Option<Span>,
    #[serde(default)]
    artifacts: Vec<String>,
    #[serde(default)]
    requires: Needs,
    #[serde(default)]
    params: BTreeMap<String, ParamTable>,
}

/// `[requires]`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Needs {
    labels: BTreeMap<String, String>,
    cpus: Option<f64>,
    memory: Option<Size>,
    gpus: Option<u32>,
}

/// `[params.<name>]`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ParamTable {
    r#type: Type,
    default: Option<Value>,
    min: Option<Number>,
    max: Option<Number>,
    max_length: Option<usize>,
    choices: Option<Vec<String>>,
    env: Option<String>,
    description: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    String,
    Integer,
    Number,
    Boolean,
    Choice,
}

impl File {
    fn into_parts(self) -> Result<(wire::JobSpec, BTreeMap<String, Param>), InvalidSpec> {
        let Self {
            description: _,
            command,
            args,
            image,
            env,
            cwd,
            name,
            tags,
            priority,
            timeout,
            queue_timeout,
            grace,
            artifacts,
            requires: Needs { labels, cpus, memory, gpus },
            params,
        } = self;
        let secs = |span: Option<Span>| span.map(|span| span.0.as_secs_f64());
        let memory_bytes = memory.map(|size| size.0);
        let requires = wire::Requires { labels, cpus, memory_bytes, gpus, ..wire::Requires::default() };
        let base = wire::JobSpec {
            command,
            args,
            image,
            env,
            cwd,
            name,
            tags,
            priority,
            timeout_secs: secs(timeout),
            queue_timeout_secs: secs(queue_timeout),
            grace_secs: secs(grace),
            artifacts,
            requires,
            ..wire::JobSpec::default()
        };
        let params = params.into_iter().map(|(name, table)| {
            let param = table.into_param().map_err(|(key, message)| {
                let key = if key.is_empty() { String::new() } else { format!(".{key}") };
                WireError::bad_field(format!("params.{name}{key}"), message)
            })?;
            Ok((name, param))
        });
        Ok((base, params.collect::<Result<_, InvalidSpec>>()?))
    }
}

impl ParamTable {
    /// The parameter, or the key at fault and what is wrong with it.
    fn into_param(self) -> Result<Param, (&'static str, String)> {
        let Self { r#type, default, min, max, max_length, choices, env, description } = self;
        let bounded = matches!(r#type, Type::Integer | Type::Number);
        for (key, given, fits) in [
            ("min", min.is_some(), bounded),
            ("max", max.is_some(), bounded),
            ("max-length", max_length.is_some(), r#type == Type::String),
            ("choices", choices.is_some(), r#type == Type::Choice),
        ] {
            if given && !fits {
                return Err((key, "this type of parameter has none".to_owned()));
            }
        }
        let integer = |key, bound: Option<Number>, open: i64| match bound {
            None => Ok(open),
            Some(bound) => bound.as_i64().ok_or((key, format!("expected an integer, got {bound}"))),
        };
        let kind = match r#type {
            Type::String => Kind::Text { most: max_length.unwrap_or(TEXT_BYTES) },
            Type::Integer => Kind::Integer { min: integer("min", min, i64::MIN)?, max: integer("max", max, i64::MAX)? },
            Type::Number => {
                let bound = |bound: Option<Number>| bound.and_then(|bound| bound.as_f64());
                Kind::Number { min: bound(min), max: bound(max) }
            }
            Type::Boolean => Kind::Boolean,
            Type::Choice => Kind::Choice(choices.ok_or(("choices", "a choice needs choices".to_owned()))?),
        };
        Ok(Param { kind, default, env, description })
    }
}
