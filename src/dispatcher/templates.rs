//! The templates that this dispatcher offers: the built-in one, and a directory of TOML files.
//!
//! Read at the start, where a wrong file is an error, and again when a file of the directory has changed: then a wrong
//! file is logged, and what was read before it stays. A template is `<name>.toml`; other files are passed over.
//!
//! Guards: nothing is submitted by a template that cannot work; no file is read without end.
//! Not here: what a template does with parameters (`model::template`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::{Number, Value};
use tracing::{error, info};

use super::Dispatcher;
use crate::config::{ConfigError, Size, Span, read_toml};
use crate::model::template::{Kind, Param, TEXT_BYTES};
use crate::model::{InvalidSpec, JobSpec, Template};
use crate::protocol::spec as wire;
use crate::protocol::{ErrorCode, WireError};

/// How often the directory is looked at. People who edit a file try it some seconds later.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Templates in a directory at the most, and bytes of each: far beyond what people write by hand.
const FILES_MOST: usize = 1_000;
const FILE_BYTES: u64 = 256 * 1024;

/// What `fractal` is where the directory has no file of that name.
const FRACTAL: &str = include_str!("../../examples/templates/fractal.toml");

/// The templates of a dispatcher. Clones share them.
#[derive(Debug, Clone)]
pub struct Templates(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: Option<PathBuf>,
    // Held for a clone of the pointer only.
    known: RwLock<Known>,
}

type Known = Arc<BTreeMap<String, Template>>;

/// Why templates cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The directory or a file cannot be read.
    #[error("cannot read templates from {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no TOML, or holds what no template has.
    #[error(transparent)]
    Toml(#[from] ConfigError),
    /// A file describes what cannot work.
    #[error("{}: {field}: {message}", path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// The key at fault.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// There is no end to them.
    #[error("{} holds more than {FILES_MOST} templates", path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
}

impl Templates {
    /// The built-in template, and those of a directory. Blocks while it reads.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn load(dir: Option<&Path>) -> Result<Self, TemplateError> {
        let known = RwLock::new(read(dir)?);
        Ok(Self(Arc::new(Inner { dir: dir.map(Path::to_owned), known })))
    }

    fn known(&self) -> Known {
        Arc::clone(&self.0.known.read())
    }
}

impl Dispatcher {
    /// A submitted spec, checked; one that names a template is what the template makes of it.
    ///
    /// # Errors
    /// `not_found` for an unknown template, or the field at fault.
    pub(super) fn checked(&self, spec: wire::JobSpec) -> Result<JobSpec, InvalidSpec> {
        let Some(name) = &spec.template else { return JobSpec::try_from(spec) };
        let known = self.0.templates.known();
        let Some(template) = known.get(name) else {
            let message = format!("no template {name:?}");
            return Err(WireError::new(ErrorCode::NotFound, message).field("template"));
        };
        template.fill(spec)
    }

    /// Whether there is a template of this name.
    pub fn has_template(&self, name: &str) -> bool {
        self.0.templates.known().contains_key(name)
    }
}

/// Reads the directory again whenever something in it has changed, until the dispatcher ends.
pub(super) async fn watch(dispatcher: Dispatcher) {
    let templates = dispatcher.0.templates.clone();
    let Some(dir) = templates.0.dir.clone() else { return };
    let cut = dispatcher.shutdown().cut().clone();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = None;
    loop {
        tokio::select! {
            biased;
            () = cut.cancelled() => return,
            _ = tick.tick() => (),
        }
        let (dir, before) = (dir.clone(), seen.clone());
        let look = tokio::task::spawn_blocking(move || {
            // Before the files: what changes while they are read is seen the next time.
            let now = stamps(&dir).ok();
            let read = (now != before).then(|| read(Some(&dir)));
            (now, read)
        });
        let looked = tokio::select! {
            () = cut.cancelled() => return,
            looked = look => looked,
        };
        let Ok((now, read)) = looked else { continue };
        seen = now;
        match read {
            Some(Ok(known)) if *templates.known() != *known => {
                info!(templates = known.len(), "templates were read again");
                *templates.0.known.write() = known;
            }
            Some(Err(error)) => error!(%error, "templates cannot be read again; the old ones stay"),
            Some(Ok(_)) | None => (),
        }
    }
}

/// Name, age and size of each file: what tells that one has changed.
fn stamps(dir: &Path) -> io::Result<Vec<(OsString, Option<SystemTime>, u64)>> {
    let mut stamps = Vec::new();
    for entry in std::fs::read_dir(dir)?.take(FILES_MOST * 2) {
        let entry = entry?;
        // A link counts as what it leads to.
        if let Ok(meta) = std::fs::metadata(entry.path()) {
            stamps.push((entry.file_name(), meta.modified().ok(), meta.len()));
        }
    }
    stamps.sort();
    Ok(stamps)
}

fn read(dir: Option<&Path>) -> Result<Known, TemplateError> {
    let built_in = parse("fractal", Path::new("fractal.toml"), FRACTAL)?;
    let mut known = BTreeMap::from([("fractal".to_owned(), built_in)]);
    let Some(dir) = dir else { return Ok(Arc::new(known)) };
    let failed = |path: &Path, source| TemplateError::Read { path: path.to_owned(), source };
    for entry in std::fs::read_dir(dir).map_err(|source| failed(dir, source))? {
        let path = entry.map_err(|source| failed(dir, source))?.path();
        if path.extension().is_none_or(|extension| extension != "toml") || !path.is_file() {
            continue;
        }
        let name = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| is_name(stem)).ok_or_else(|| {
            let message = "a template is named with at most 64 letters, digits, '.', '_' or '-'".to_owned();
            TemplateError::Wrong { path: path.clone(), field: "file name".to_owned(), message }
        })?;
        let text = text_of(&path).map_err(|source| failed(&path, source))?;
        known.insert(name.to_owned(), parse(name, &path, &text)?);
        if known.len() > FILES_MOST {
            return Err(TemplateError::TooMany { path: dir.to_owned() });
        }
    }
    Ok(Arc::new(known))
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(FILE_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("a template is at most {FILE_BYTES} bytes")));
    }
    Ok(text)
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn parse(name: &str, path: &Path, text: &str) -> Result<Template, TemplateError> {
    let wrong = |error: WireError| TemplateError::Wrong {
        path: path.to_owned(),
        field: error.field.unwrap_or_default(),
        message: error.message,
    };
    let file: File = read_toml(path, text)?;
    let (base, params) = file.into_parts().map_err(wrong)?;
    Template::new(name, base, params).map_err(wrong)
}

/// A template's file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_template_is_there_without_a_directory() {
        let templates = Templates::load(None).unwrap();
        assert_eq!(templates.known().keys().collect::<Vec<_>>(), ["fractal"]);
    }

    #[test]
    fn every_key_of_a_file_is_understood() {
        let text = "args = ['a', '{size}']\nimage = 'i'\ncwd = 'sub'\nname = 'n'\ntags = ['t']\npriority = 2\n\
            timeout = '10m'\nqueue-timeout = '1h'\ngrace = 5\nartifacts = ['*.png']\n[env]\nA = 'b'\n\
            [requires]\nlabels = { zone = 'eu' }\ncpus = 0.5\nmemory = '1GiB'\ngpus = 1\n\
            [params.size]\ntype = 'integer'\nmin = 1\nmax = 9\ndefault = 3\nenv = 'SIZE'\ndescription = 'how large'\n\
            [params.ratio]\ntype = 'number'\nmin = 0\ndefault = 0.5\n[params.mode]\ntype = 'choice'\nchoices = ['x', 'y']\n\
            [params.note]\ntype = 'string'\nmax-length = 5\n[params.fast]\ntype = 'boolean'";
        let template = parse("t", Path::new("t.toml"), text).unwrap();
        let params = [("mode", "y"), ("note", "n"), ("fast", "true")];
        let params = params.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let spec = template.fill(wire::JobSpec { params, ..wire::JobSpec::default() }).unwrap();
        assert_eq!((spec.env["SIZE"].as_str(), spec.env["GANGLINE_PARAM_MODE"].as_str()), ("3", "y"));
        assert_eq!((spec.timeout_ms, spec.grace_ms, spec.requires.memory_bytes), (Some(600_000), Some(5_000), 1 << 30));
    }

    #[test]
    fn a_wrong_file_is_named_with_its_key() {
        for (text, expected) in [
            ("command = 1", "t.toml, line 1: command: invalid type: integer `1`, expected a string"),
            ("command = 'x'\ncolour = 1", "t.toml, line 2: colour: unknown field `colour`"),
            ("command", "t.toml, line 1: "),
            ("", "t.toml: command: command, args or image is required"),
            ("command = 'x'\n[params.a]\ntype = 'colour'", "t.toml, line 3: params.a.type: unknown variant `colour`"),
            (
                "command = 'x'\n[params.a]\ntype = 'string'\nmin = 1",
                "t.toml: params.a.min: this type of parameter has none",
            ),
            ("command = 'x'\n[params.a]\ntype = 'integer'\nmin = 0.5", "t.toml: params.a.min: expected an integer"),
            ("command = 'x'\n[params.a]\ntype = 'choice'", "t.toml: params.a.choices: a choice needs choices"),
            ("args = ['sh', '-c', '{a}']\n[params.a]\ntype = 'string'", "t.toml: args[2]: a parameter cannot be part"),
            (
                "command = 'x'\n[params.a]\ntype = 'number'\ndefault = nan",
                "t.toml: params.a.default: expected a number",
            ),
            ("command = 'x'\ntimeout = 'soon'", "t.toml, line 2: timeout: invalid value"),
        ] {
            let error = parse("t", Path::new("t.toml"), text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn files_are_templates_by_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("build.toml", "command = 'make'");
        write("fractal.toml", "command = 'mine'");
        write("notes.txt", "not a template");
        let templates = Templates::load(Some(dir.path())).unwrap();
        assert_eq!(templates.known().keys().collect::<Vec<_>>(), ["build", "fractal"]);

        write("a b.toml", "command = 'make'");
        assert!(Templates::load(Some(dir.path())).unwrap_err().to_string().contains("file name"));
        assert!(matches!(Templates::load(Some(&dir.path().join("none"))), Err(TemplateError::Read { .. })));
    }
}
