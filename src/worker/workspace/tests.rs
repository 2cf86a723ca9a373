use std::io::{Seek, Write};
use std::os::unix::fs::PermissionsExt;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::artifacts::collect;
use super::unpack::{UnpackError, unpack};
use super::*;
use crate::base::tls::Trust;
use crate::model::Program;

fn zip(build: impl FnOnce(&mut ZipWriter<File>)) -> File {
    let mut zip = ZipWriter::new(tempfile::tempfile().unwrap());
    build(&mut zip);
    let mut file = zip.finish().unwrap();
    file.rewind().unwrap();
    file
}

fn add(zip: &mut ZipWriter<File>, name: &str, bytes: &[u8], mode: u32) {
    zip.start_file(name, SimpleFileOptions::default().unix_permissions(mode)).unwrap();
    zip.write_all(bytes).unwrap();
}

#[tokio::test]
async fn an_untouched_directory_serves_again_and_a_touched_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let workspaces = Workspaces::new(&dir.path().join("work")).unwrap();
    let first = workspaces.take().unwrap();
    let path = first.path().to_owned();
    workspaces.give_back(first).await;
    let second = workspaces.take().unwrap();
    assert_eq!(second.path(), path);
    fs::write(path.join("file"), "left over").unwrap();
    workspaces.give_back(second).await;
    assert!(!path.exists());
    let third = workspaces.take().unwrap();
    assert_eq!(fs::read_dir(third.path()).unwrap().count(), 0);
    // Gone again before anyone looked, but touched all the same.
    fs::write(third.path().join("file"), "").unwrap();
    fs::remove_file(third.path().join("file")).unwrap();
    let path = third.path().to_owned();
    workspaces.give_back(third).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_workspace_that_may_not_be_written_to_is_removed_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let workspaces = Workspaces::new(&dir.path().join("work")).unwrap();
    let workspace = workspaces.take().unwrap();
    let inner = workspace.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("file"), "").unwrap();
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o500)).unwrap();
    let path = workspace.path().to_owned();
    workspaces.give_back(workspace).await;
    assert!(!path.exists());
}

#[test]
fn files_directories_links_and_modes_are_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let file = zip(|zip| {
        add(zip, "bin/run.sh", b"#!/bin/sh\necho hi\n", 0o755);
        add(zip, "./data.txt", b"data", 0o600);
        zip.add_directory("empty/", SimpleFileOptions::default()).unwrap();
        zip.add_symlink("link", "bin/run.sh", SimpleFileOptions::default()).unwrap();
    });
    unpack(file, dir.path(), 1000).unwrap();
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("bin/run.sh"), mode("data.txt")), (0o755, 0o600));
    assert!(dir.path().join("empty").is_dir());
    assert_eq!(fs::read(dir.path().join("link")).unwrap(), b"#!/bin/sh\necho hi\n");
}

#[test]
fn nothing_is_unpacked_outside() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    for name in ["../victim", "a/../../victim", victim.to_str().unwrap(), "..\\victim", ""] {
        let dir = tempfile::tempdir_in(outside.path()).unwrap();
        let file = zip(|zip| add(zip, name, b"gotcha", 0o644));
        let refused = unpack(file, dir.path(), 1000);
        assert!(matches!(refused, Err(UnpackError::Entry { .. })), "{name}: {refused:?}");
        assert!(!victim.exists());
    }
}

#[test]
fn links_that_lead_out_are_refused_however_they_do_it() {
    let options = SimpleFileOptions::default;
    type Build<'a> = dyn Fn(&mut ZipWriter<File>) + 'a;
    let archives: [&Build<'_>; 5] = [
        &|zip| zip.add_symlink("link", "/etc/passwd", options()).unwrap(),
        &|zip| zip.add_symlink("a/link", "../..", options()).unwrap(),
        &|zip| zip.add_symlink("link", "nowhere", options()).unwrap(),
        // A file through a link.
        &|zip| {
            zip.add_symlink("link", "..", options()).unwrap();
            add(zip, "link/victim", b"gotcha", 0o644);
        },
        // A link that only leads out by way of another.
        &|zip| {
            zip.add_directory("r/", options()).unwrap();
            zip.add_symlink("p/q/d", "../../r", options()).unwrap();
            zip.add_symlink("link", "p/q/d/../../..", options()).unwrap();
        },
    ];
    for (index, build) in archives.iter().enumerate() {
        let outside = tempfile::tempdir().unwrap();
        let dir = outside.path().join("a/workspace");
        fs::create_dir_all(&dir).unwrap();
        assert!(unpack(zip(build), &dir, 1000).is_err(), "{index}");
        assert!(!outside.path().join("a/victim").exists());
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let file = zip(|zip| add(zip, "zeros", &vec![0; 100_000], 0o644));
    assert!(matches!(unpack(file, dir.path(), 99_999), Err(UnpackError::TooLarge(99_999))));
    assert!(fs::metadata(dir.path().join("zeros")).unwrap().len() <= 100_000);
    assert!(matches!(unpack(tempfile::tempfile().unwrap(), dir.path(), 1), Err(UnpackError::Zip(_))));
}

#[tokio::test]
async fn a_working_directory_is_made_inside_and_refused_outside() {
    let dir = tempfile::tempdir().unwrap();
    let workspaces = Workspaces::new(&dir.path().join("work")).unwrap();
    let workspace = workspaces.take().unwrap();
    let transfer = Transfer::new("h:1".parse().unwrap(), None, Trust::default());
    let sizes = Sizes { download: 1, unpacked: 1 };
    let mut spec = JobSpec::new(Program::Shell("true".to_owned()));
    let path = workspace.path().to_owned();
    std::os::unix::fs::symlink("/tmp", path.join("out")).unwrap();
    fs::write(path.join("file"), "").unwrap();
    for (cwd, expected) in [
        ("a/b", Some("a/b")),
        (".", Some("")),
        ("./a", Some("a")),
        ("out", None),
        ("../x", None),
        ("/tmp", None),
        ("file", None),
    ] {
        spec.cwd = Some(cwd.to_owned());
        let dir = workspace.prepare(&spec, &transfer, sizes).await.ok();
        assert_eq!(dir, expected.map(|sub| path.join(sub)), "{cwd}");
    }
    assert!(!Path::new("/tmp/gangline-x").exists());
}

#[test]
fn artifacts_are_what_the_patterns_name_and_never_outside() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for name in ["a.txt", "sub/b.txt", "dist/x/y.bin", "dist/z.bin", "other"] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", root.join("leak.txt")).unwrap();
    std::os::unix::fs::symlink("other", root.join("inner.txt")).unwrap();
    let names = |patterns: &[&str]| {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let (files, problems) = collect(&root, &patterns);
        (files.into_iter().map(|file| file.name).collect::<Vec<_>>(), problems)
    };
    assert_eq!(names(&["dist"]).0, ["dist/x/y.bin", "dist/z.bin"]);
    assert_eq!(names(&["./dist/"]).0, ["dist/x/y.bin", "dist/z.bin"]);
    assert_eq!(names(&["**/b.txt"]).0, ["sub/b.txt"]);
    let (files, problems) = names(&["*.txt"]);
    assert_eq!(files, ["a.txt", "inner.txt"]);
    assert_eq!(problems, ["leak.txt: no file of the workspace"]);
    assert_eq!(names(&["nothing"]), (Vec::new(), Vec::new()));
    assert_eq!(names(&["a["]).1.len(), 1);
}

#[tokio::test]
async fn a_directory_that_had_a_visitor_is_not_used_again() {
    let root = tempfile::tempdir().unwrap();
    let workspaces = Workspaces::new(root.path()).unwrap();
    let mut visited = workspaces.take().unwrap();
    let path = visited.path().to_owned();
    visited.was_visited();
    workspaces.give_back(visited).await;
    assert!(!path.exists());
    assert_ne!(workspaces.take().unwrap().path(), path);
}
