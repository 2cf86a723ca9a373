//! Templates: jobs that a server offers under a name, with parameters that are checked.
//!
//! A parameter's value reaches the job as an environment variable, and inside the elements of an argument vector. It is
//! never part of a shell's script: neither of `command`, where nothing is replaced, nor of what `sh -c` gets, which
//! [`Template::new`] refuses. Not here: reading files (`dispatcher`).

mod record;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::spec::{FromTemplate, InvalidSpec, JobSpec};
use crate::protocol::error::WireError;
use crate::protocol::spec as wire;

/// Longest text of a parameter that says nothing else, in bytes.
pub const TEXT_BYTES: usize = 4096;

/// Programs whose `-c` takes a script.
const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh", "busybox"];

/// A template that can be filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    name: String,
    /// For people who choose one.
    description: Option<String>,
    /// What every job of it is, before parameters.
    base: wire::JobSpec,
    params: BTreeMap<String, Param>,
}

/// One parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// What it may be.
    pub kind: Kind,
    /// What it is where it is not given; none: it must be given.
    pub default: Option<Value>,
    /// The variable that carries it; `GANGLINE_PARAM_<NAME>` unless the template names another.
    pub env: Option<String>,
    /// For people who got it wrong.
    pub description: Option<String>,
}

/// What a parameter may be, bounds included.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Any text without NUL of at most so many bytes.
    Text {
        /// Bytes.
        most: usize,
    },
    /// A whole number.
    Integer {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
    },
    /// Any number.
    Number {
        /// The least; none: no bound.
        min: Option<f64>,
        /// The most.
        max: Option<f64>,
    },
    /// True or false.
    Boolean,
    /// One of these.
    Choice(Vec<String>),
}

impl Template {
    /// A template that gives a valid spec for every set of valid parameters. `base` is a spec with `{width}` where its
    /// `args` hold the parameter `width`, and `{{` for a brace.
    ///
    /// # Errors
    /// The field at fault, as a path in the template.
    pub fn new(name: &str, base: wire::JobSpec, params: BTreeMap<String, Param>) -> Result<Self, InvalidSpec> {
        let template = Self { name: name.to_owned(), description: None, base, params };
        let mut variables = BTreeSet::new();
        for (name, param) in &template.params {
            let wrong =
                |field: &str, message: String| Err(WireError::bad_field(format!("params.{name}{field}"), message));
            if !is_name(name) {
                return wrong("", "a parameter's name is a letter, then letters, digits, '_' or '-'".to_owned());
            }
            param.kind.check().map_err(|message| WireError::bad_field(format!("params.{name}"), message))?;
            if let Some(default) = &param.default
                && param.kind.read(default).is_none()
            {
                return wrong(".default", format!("expected {}, got {default}", param.kind.expected()));
            }
            let variable = param.variable(name);
            if variable.is_empty() || variable.contains(['=', '\0']) {
                return wrong(".env", format!("{variable:?} is not a variable name"));
            }
            if !variables.insert(variable) {
                return wrong(".env", "two parameters have the same variable".to_owned());
            }
        }
        template.check_args()?;
        // Whatever else is wrong with the base is wrong with this one, too: values go only where any text may stand.
        let sample = |(name, param): (&String, &Param)| Some((name.clone(), param.kind.sample()));
        let params = template.params.iter().filter_map(sample).collect();
        template.fill(wire::JobSpec { params, ..wire::JobSpec::default() })?;
        Ok(template)
    }

    /// The same, with words for people who choose one.
    pub fn described(self, description: Option<String>) -> Self {
        Self { description, ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The job that `asked` describes by this template's name and parameters. What it says beside them comes on top of
    /// what the template says, or in its place; only what is run cannot be said twice.
    ///
    /// # Errors
    /// The field at fault: `params.<name>`, or as in any spec.
    pub fn fill(&self, asked: wire::JobSpec) -> Result<JobSpec, InvalidSpec> {
        let given = asked.params.clone();
        let values = self.values(&given)?;
        let mut spec = self.overlaid(asked)?;
        for (name, param) in &self.params {
            spec.env.insert(param.variable(name), values[name].clone());
        }
        for arg in spec.args.iter_mut().flatten() {
            *arg = expand(arg, &values).map_err(|message| WireError::bad_field("args", message))?;
        }
        let mut spec = JobSpec::try_from(spec)?;
        spec.template = Some(Box::new(FromTemplate { name: self.name.clone(), params: given }));
        Ok(spec)
    }

    /// The text of every parameter, given or not.
    fn values(&self, given: &BTreeMap<String, Value>) -> Result<BTreeMap<String, String>, InvalidSpec> {
        if let Some(name) = given.keys().find(|name| !self.params.contains_key(*name)) {
            let known: Vec<&str> = self.params.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = format!("the template {} has no parameter {name:?}; it has {known}", self.name);
            return Err(WireError::bad_field(format!("params.{name}"), message));
        }
        let mut values = BTreeMap::new();
        for (name, param) in &self.params {
            let field = format!("params.{name}");
            let expected = param.expected();
            // `null` is as good as absent, as in every field.
            let Some(value) = given.get(name).filter(|value| !value.is_null()).or(param.default.as_ref()) else {
                return Err(WireError::bad_field(&field, format!("{field} is required: {expected}")));
            };
            let Some(text) = param.kind.read(value) else {
                return Err(WireError::bad_field(&field, format!("{field} must be {expected}, got {value}")));
            };
            values.insert(name.clone(), text);
        }
        Ok(values)
    }

    /// The base with what was asked for beside the template on top.
    fn overlaid(&self, asked: wire::JobSpec) -> Result<wire::JobSpec, InvalidSpec> {
        let wire::JobSpec {
            command,
            args,
            image,
            mut env,
            cwd,
            name,
            tags,
            file_url,
            filename,
            template: _,
            params: _,
            stdin,
            tty,
            requires,
            priority,
            timeout_secs,
            queue_timeout_secs,
            grace_secs,
            on_lost,
            max_attempts,
            artifacts,
            container,
            service,
        } = asked;
        let excluded = [
            ("command", command.is_some()),
            ("args", args.is_some()),
            ("image", image.is_some()),
            ("container", container.is_some()),
            ("service", service.is_some()),
        ];
        for (field, given) in excluded {
            if given {
                return Err(WireError::bad_field(field, format!("{field} and template exclude each other")));
            }
        }
        let base = self.base.clone();
        let mut kept = base.artifacts;
        kept.extend(artifacts.into_iter().filter(|pattern| !self.base.artifacts.contains(pattern)));
        for (variable, value) in base.env {
            env.entry(variable).or_insert(value);
        }
        let requeues = on_lost != wire::OnLost::Fail || max_attempts.is_some();
        let (on_lost, max_attempts) =
            if requeues { (on_lost, max_attempts) } else { (base.on_lost, base.max_attempts) };
        Ok(wire::JobSpec {
            command: base.command,
            args: base.args,
            image: base.image,
            env,
            cwd: cwd.or(base.cwd),
            name: name.or(base.name),
            tags: if tags.is_empty() { base.tags } else { tags },
            file_url: file_url.or(base.file_url),
            filename: filename.or(base.filename),
            template: None,
            params: BTreeMap::new(),
            container: None,
            service: None,
            stdin: stdin || base.stdin,
            tty: if tty.is_off() { base.tty } else { tty },
            requires: over(requires, base.requires),
            priority: if priority == 0 { base.priority } else { priority },
            timeout_secs: timeout_secs.or(base.timeout_secs),
            queue_timeout_secs: queue_timeout_secs.or(base.queue_timeout_secs),
            grace_secs: grace_secs.or(base.grace_secs),
            on_lost,
            max_attempts,
            artifacts: kept,
        })
    }

    /// Whether every value stands where it is one argument, or part of one, of a program.
    fn check_args(&self) -> Result<(), InvalidSpec> {
        let args = self.base.args.as_deref().unwrap_or_default();
        // Any text will do: only the names count.
        let names: BTreeMap<String, String> = self.params.keys().map(|name| (name.clone(), String::new())).collect();
        let mut shell = false;
        let mut script_at = None;
        for (index, arg) in args.iter().enumerate() {
            let wrong = |message: String| Err(WireError::bad_field(format!("args[{index}]"), message));
            let holds_values = match expand(arg, &names) {
                Ok(_) => holds_values(arg),
                Err(message) => return wrong(message),
            };
            if holds_values && index == 0 {
                return wrong("the program cannot be a parameter".to_owned());
            }
            if holds_values && (script_at == Some(index) || shell && arg.starts_with('-')) {
                let message = "a parameter cannot be part of a shell's script; let the script use its variable";
                return wrong(message.to_owned());
            }
            // Behind a script come its own name, which is often `sh`, and its arguments.
            let (is_script, names_script) = (script_at == Some(index), script_at.is_some_and(|at| at + 1 == index));
            let is_shell = SHELLS.contains(&arg.rsplit('/').next().unwrap_or(arg));
            shell = !is_script && !names_script && (shell || is_shell);
            if shell && arg.starts_with('-') && !arg.starts_with("--") && arg.contains('c') {
                script_at = Some(index + 1);
            }
        }
        Ok(())
    }
}

impl Param {
    fn variable(&self, name: &str) -> String {
        match &self.env {
            Some(variable) => variable.clone(),
            None => format!("GANGLINE_PARAM_{}", name.to_ascii_uppercase().replace('-', "_")),
        }
    }

    fn expected(&self) -> String {
        match &self.description {
            Some(description) => format!("{} ({description})", self.kind.expected()),
            None => self.kind.expected(),
        }
    }
}

impl Kind {
    /// The text of a value; none: it is not one of this kind. A number or a truth value may come as text, as
    /// from a command line.
    fn read(&self, value: &Value) -> Option<String> {
        match (self, value) {
            (Self::Text { most }, Value::String(text)) => {
                (text.len() <= *most && !text.contains('\0')).then(|| text.clone())
            }
            (Self::Integer { min, max }, Value::Number(_) | Value::String(_)) => {
                let number: i64 = match value.as_str() {
                    Some(text) => text.parse().ok()?,
                    None => value.as_i64()?,
                };
                (*min..=*max).contains(&number).then(|| number.to_string())
            }
            (Self::Number { min, max }, Value::Number(_) | Value::String(_)) => {
                let (number, text) = match value {
                    Value::String(text) => (text.parse::<f64>().ok()?, text.clone()),
                    value => (value.as_f64()?, value.to_string()),
                };
                let bounded = min.is_none_or(|min| min <= number) && max.is_none_or(|max| number <= max);
                (number.is_finite() && bounded).then_some(text)
            }
            (Self::Boolean, Value::Bool(value)) => Some(value.to_string()),
            (Self::Boolean, Value::String(text)) => matches!(text.as_str(), "true" | "false").then(|| text.clone()),
            (Self::Choice(choices), Value::String(text)) => choices.contains(text).then(|| text.clone()),
            (Self::Text { .. } | Self::Integer { .. } | Self::Number { .. } | Self::Boolean | Self::Choice(_), _) => {
                None
            }
        }
    }

    /// In words.
    fn expected(&self) -> String {
        match self {
            Self::Text { most } => format!("a string of at most {most} bytes"),
            Self::Integer { min: i64::MIN, max: i64::MAX } => "an integer".to_owned(),
            Self::Integer { min, max: i64::MAX } => format!("an integer of {min} or more"),
            Self::Integer { min: i64::MIN, max } => format!("an integer of {max} or less"),
            Self::Integer { min, max } => format!("an integer from {min} to {max}"),
            Self::Number { min: None, max: None } => "a number".to_owned(),
            Self::Number { min: Some(min), max: None } => format!("a number of {min} or more"),
            Self::Number { min: None, max: Some(max) } => format!("a number of {max} or less"),
            Self::Number { min: Some(min), max: Some(max) } => format!("a number from {min} to {max}"),
            Self::Boolean => "true or false".to_owned(),
            Self::Choice(choices) => format!("one of {}", choices.join(", ")),
        }
    }

    /// Whether there is any value of this kind.
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Integer { min, max } if min > max => Err("min is more than max".to_owned()),
            Self::Number { min: Some(min), max: Some(max) } if min > max => Err("min is more than max".to_owned()),
            Self::Number { min, max } if [min, max].into_iter().flatten().any(|bound| !bound.is_finite()) => {
                Err("a bound must be a number".to_owned())
            }
            Self::Choice(choices) if choices.is_empty() => Err("choices is empty".to_owned()),
            Self::Choice(choices) if choices.iter().any(|choice| choice.contains('\0')) => {
                Err("a choice cannot hold a NUL".to_owned())
            }
            Self::Text { .. } | Self::Integer { .. } | Self::Number { .. } | Self::Boolean | Self::Choice(_) => Ok(()),
        }
    }

    /// A value of this kind, whose [`Kind::check`] is good.
    fn sample(&self) -> Value {
        match self {
            Self::Text { .. } => "".into(),
            Self::Integer { min, .. } => (*min).into(),
            Self::Number { min, max } => min.or(*max).unwrap_or(0.0).into(),
            Self::Boolean => false.into(),
            Self::Choice(choices) => choices.first().cloned().unwrap_or_default().into(),
        }
    }
}

/// What the second says, under what the first says.
fn over(asked: wire::Requires, base: wire::Requires) -> wire::Requires {
    let wire::Requires { worker_id, mut labels, cpus, memory_bytes, gpus, gpu_ids } = asked;
    for (key, value) in base.labels {
        labels.entry(key).or_insert(value);
    }
    let (gpus, gpu_ids) = if gpus.is_some() || gpu_ids.is_some() { (gpus, gpu_ids) } else { (base.gpus, base.gpu_ids) };
    wire::Requires {
        worker_id: worker_id.or(base.worker_id),
        labels,
        cpus: cpus.or(base.cpus),
        memory_bytes: memory_bytes.or(base.memory_bytes),
        gpus,
        gpu_ids,
    }
}

/// An argument with values in the place of their names.
fn expand(arg: &str, values: &BTreeMap<String, String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(arg.len());
    let mut rest = arg;
    while let Some(at) = rest.find(['{', '}']) {
        expanded.push_str(&rest[..at]);
        let brace = &rest[at..];
        if let Some(after) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
            expanded.push_str(&brace[..1]);
            rest = after;
            continue;
        }
        let Some((name, after)) = brace.strip_prefix('{').and_then(|named| named.split_once('}')) else {
            return Err("a single brace; write {{ or }} for one".to_owned());
        };
        let Some(value) = values.get(name) else {
            return Err(format!("there is no parameter {name:?}; write {{{{ for a brace"));
        };
        expanded.push_str(value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Whether an argument that [`expand`] takes has a parameter in it.
fn holds_values(arg: &str) -> bool {
    arg.replace("{{", "").contains('{')
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

#[cfg(test)]
mod tests;
