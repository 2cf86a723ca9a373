//! The templates that this dispatcher offers: the built-in one, and a directory of TOML files.
//!
//! Read at the start, where a wrong file is an error, and again when a file of the directory has changed: then a wrong
//! file is logged, and what was read before it stays. A template is `<name>.toml`; other files are passed over.
//!
//! Guards: nothing is submitted by a template that cannot work; no file is read without end.
//! Not here: what a template does with parameters (`model::template`).

mod file;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use tracing::{error, info};

use self::file::parse;
use super::Dispatcher;
use crate::config::ConfigError;
use crate::model::{InvalidSpec, JobSpec, Template};
use crate::protocol::spec as wire;
use crate::protocol::template::TemplatesReply;
use crate::protocol::{ErrorCode, WireError};

/// How often the directory is looked at. People who edit a file try it some seconds later.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Templates in a directory at the most, and bytes of each: far beyond what people write by hand.
const FILES_MOST: usize = 1_000;
const FILE_BYTES: u64 = 256 * 1024;

/// What `fractal` is where the directory has no file of that name.
const FRACTAL: &str = include_str!("../../../examples/templates/fractal.toml");

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

    /// What the templates are, by name.
    pub fn templates(&self) -> TemplatesReply {
        TemplatesReply { templates: self.0.templates.known().values().map(Template::record).collect() }
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

#[cfg(test)]
mod tests;
