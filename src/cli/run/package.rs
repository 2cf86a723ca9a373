//! `--file`: a ZIP as it is, or a directory made into one.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::time::timeout;
use walkdir::WalkDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::super::failure::Failure;

/// What a person waits without wondering.
const MOMENT: Duration = Duration::from_millis(500);

/// A ZIP that is ready to be sent.
#[derive(Debug)]
pub(super) struct Package {
    file: Source,
    name: String,
}

#[derive(Debug)]
enum Source {
    Given(PathBuf),
    /// Removed once it is dropped.
    Made(NamedTempFile),
}

impl Package {
    pub(super) fn path(&self) -> &Path {
        match &self.file {
            Source::Given(path) => path,
            Source::Made(file) => file.path(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Takes the ZIP at `path`, or makes one of the directory there. `slow` is called where that
/// takes more than a moment.
pub(super) async fn prepare(path: &Path, slow: impl FnOnce()) -> Result<Package, Failure> {
    let wrong = |error: io::Error| Failure::usage(format!("--file {}: {error}", path.display()));
    let real = std::fs::canonicalize(path).map_err(wrong)?;
    let name = real.file_name().map_or_else(|| "project".into(), |name| name.to_string_lossy().into_owned());
    if !real.is_dir() {
        return Ok(Package { file: Source::Given(real), name });
    }
    let packing = tokio::task::spawn_blocking(move || {
        let file = NamedTempFile::new()?;
        pack(&real, BufWriter::new(file.as_file()))?;
        Ok(file)
    });
    let file =
        noticing(packing, MOMENT, slow).await.map_err(|error| Failure::failed(error.to_string()))?.map_err(wrong)?;
    Ok(Package { file: Source::Made(file), name: format!("{name}.zip") })
}

/// Does `work`, and calls `slow` once `moment` is over before it.
async fn noticing<T>(work: impl Future<Output = T>, moment: Duration, slow: impl FnOnce()) -> T {
    tokio::pin!(work);
    if let Ok(done) = timeout(moment, &mut work).await {
        return done;
    }
    slow();
    work.await
}

/// Writes everything below `root` into a ZIP. A link to a file becomes the file; other links
/// and what is no file have no place in a workspace elsewhere and are left out.
fn pack(root: &Path, to: impl Write + Seek) -> io::Result<()> {
    let mut zip = ZipWriter::new(to);
    for entry in WalkDir::new(root).min_depth(1).sort_by_file_name() {
        let entry = entry?;
        // WalkDir yields only what lies below its root.
        let Ok(relative) = entry.path().strip_prefix(root) else { continue };
        let Some(name) = relative.to_str() else {
            let message = format!("{} is not UTF-8, which a ZIP must be", relative.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        };
        // The link's target, where it is one; a link to nowhere is left out.
        let Ok(metadata) = std::fs::metadata(entry.path()) else { continue };
        let options = SimpleFileOptions::default()
            // Speed matters more than the last percent: it is unpacked once.
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(1))
            .unix_permissions(metadata.permissions().mode() & 0o777)
            .large_file(metadata.len() >= u64::from(u32::MAX));
        if entry.file_type().is_dir() {
            zip.add_directory(name, options)?;
        } else if metadata.is_file() {
            zip.start_file(name, options)?;
            io::copy(&mut File::open(entry.path())?, &mut zip)?;
        }
    }
    zip.finish()?.flush()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[tokio::test]
    async fn a_directory_becomes_a_zip_of_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("project");
        std::fs::create_dir_all(root.join("sub/empty")).unwrap();
        std::fs::write(root.join("run.sh"), "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(root.join("run.sh"), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::write(root.join("sub/data"), "data").unwrap();
        std::os::unix::fs::symlink("sub/data", root.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("dangling")).unwrap();

        let package = prepare(&root, || ()).await.unwrap();
        assert_eq!(package.name(), "project.zip");
        let mut zip = zip::ZipArchive::new(File::open(package.path()).unwrap()).unwrap();
        let mut names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
        names.sort_unstable();
        assert_eq!(names, ["link", "run.sh", "sub/", "sub/data", "sub/empty/"]);
        assert_eq!(zip.by_name("run.sh").unwrap().unix_mode().map(|mode| mode & 0o777), Some(0o755));
        let mut text = String::new();
        zip.by_name("link").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "data");
    }

    #[tokio::test]
    async fn what_takes_longer_than_a_moment_is_noticed_meanwhile() {
        let (tell, noticed) = tokio::sync::oneshot::channel();
        let slow = noticing(async { noticed.await.is_ok() }, Duration::from_millis(1), || tell.send(()).unwrap());
        assert!(slow.await, "the work ended because it was noticed");
        noticing(async {}, MOMENT, || panic!("it was done at once")).await;
    }

    #[tokio::test]
    async fn a_zip_is_taken_as_it_is_and_nothing_is_an_error() {
        let file = tempfile::Builder::new().suffix(".zip").tempfile().unwrap();
        let package = prepare(file.path(), || ()).await.unwrap();
        assert_eq!(package.path().file_name(), file.path().file_name());
        assert!(prepare(Path::new("/nowhere.zip"), || ()).await.is_err());
    }
}
