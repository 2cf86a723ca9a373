//! Files come back as they were put, and nothing else is left.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use tempfile::TempDir;

use super::*;
use crate::protocol::JobId;

const JOB: JobId = JobId { number: 7, nonce: 0xabc };

fn blobs() -> (TempDir, Blobs) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(&dir.path().join("blobs")).unwrap();
    (dir, blobs)
}

fn body(pieces: &[&[u8]]) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
    stream::iter(pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>())
}

fn path(text: &str) -> ArtifactPath {
    text.parse().unwrap()
}

async fn all(blob: &Blob) -> Vec<u8> {
    part(blob, 0..blob.bytes).await
}

async fn part(blob: &Blob, range: std::ops::Range<u64>) -> Vec<u8> {
    blob.read(range).await.unwrap().try_collect::<Vec<Bytes>>().await.unwrap().concat()
}

/// Every regular file below the root.
fn files(blobs: &Blobs) -> usize {
    walkdir::WalkDir::new(blobs.root.as_deref().unwrap())
        .into_iter()
        .filter(|entry| entry.as_ref().unwrap().file_type().is_file())
        .count()
}

#[tokio::test]
async fn an_upload_is_read_back_under_its_address() {
    let (_dir, blobs) = blobs();
    let upload = blobs.put_upload("../my project.zip", body(&[b"PK", b"34"]), 10).await.unwrap();
    assert_eq!((upload.filename.as_str(), upload.bytes), ("my project.zip", 4));

    let (id, name) = upload.url.strip_prefix("/uploads/").unwrap().split_once('/').unwrap();
    assert_eq!(name, "my_project.zip");
    let blob = blobs.upload(id, name).await.unwrap().unwrap();
    assert_eq!(blob.content_type, "application/zip");
    assert_eq!(all(&blob).await, b"PK34");
    assert_eq!(part(&blob, 1..3).await, b"K3");
    assert_eq!(part(&blob, 4..4).await, b"");
}

#[tokio::test]
async fn names_that_are_no_upload_find_nothing() {
    let (dir, blobs) = blobs();
    std::fs::write(dir.path().join("secret"), "x").unwrap();
    let upload = blobs.put_upload("...", body(&[b"x"]), 10).await.unwrap();
    assert!(upload.url.ends_with("/file"), "{}", upload.url);
    for (id, name) in [("..", "secret"), ("../..", "secret"), ("", "file"), ("0", "file"), ("..", "..")] {
        assert!(blobs.upload(id, name).await.unwrap().is_none(), "{id}/{name}");
    }
}

#[tokio::test]
async fn what_is_too_large_or_breaks_off_leaves_nothing_behind() {
    let (_dir, blobs) = blobs();
    let large = vec![0; 3 * 1024 * 1024];
    let refused = blobs.put_artifact(JOB, 1, &path("a"), body(&[&large, b"x"]), large.len() as u64).await;
    assert!(matches!(refused, Err(PutError::TooLarge { .. })), "{refused:?}");
    let broken = stream::iter([Ok(Bytes::from_static(b"abc")), Err("reset")]);
    let refused = blobs.put_upload("a", broken, 10).await;
    assert!(matches!(refused, Err(PutError::Body(_))), "{refused:?}");

    assert!(blobs.artifacts(JOB, 1).await.unwrap().is_empty());
    assert_eq!(files(&blobs), 0);
}

#[tokio::test]
async fn artifacts_keep_their_names_whatever_they_are() {
    let (_dir, blobs) = blobs();
    let long = format!("{}/{}", "d".repeat(300), "f".repeat(300));
    let names =
        ["with space.txt", "100%.txt", "%2e%2e/x", "größe/日本語.log", ".hidden/.a", "a#12", "a", "a/b", "A", &long];
    for name in names {
        blobs.put_artifact(JOB, 1, &path(name), body(&[name.as_bytes()]), 1000).await.unwrap();
    }
    let listed = blobs.artifacts(JOB, 1).await.unwrap();
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(listed.iter().map(|artifact| artifact.path.as_str()).collect::<Vec<_>>(), sorted);
    for name in names {
        let (artifact, blob) = blobs.artifact(JOB, 1, &path(name)).await.unwrap().unwrap();
        assert_eq!(artifact.path.as_str(), name);
        assert_eq!(all(&blob).await, name.as_bytes());
    }
    assert!(blobs.artifacts(JOB, 2).await.unwrap().is_empty(), "another attempt has its own");
}

#[tokio::test]
async fn an_artifact_is_described_and_replaced_whole() {
    let (_dir, blobs) = blobs();
    blobs.put_artifact(JOB, 1, &path("out.json"), body(&[b"{}"]), 10).await.unwrap();
    let (_, before) = blobs.artifact(JOB, 1, &path("out.json")).await.unwrap().unwrap();
    let reading = before.read(0..2).await.unwrap();

    let artifact = blobs.put_artifact(JOB, 1, &path("out.json"), body(&[b"", b"[", b"1]"]), 10).await.unwrap();
    assert_eq!(artifact.content_type, "application/json");
    assert_eq!(artifact.bytes, 3);
    assert_eq!(artifact.sha256, "080a9ed428559ef602668b4c00f114f1a11c3f6b02a435f0bdc154578e4d7f22");
    assert_eq!(blobs.artifacts(JOB, 1).await.unwrap(), [artifact]);
    assert_eq!(files(&blobs), 2, "the former bytes are gone");

    let old: Vec<Bytes> = reading.try_collect().await.unwrap();
    assert_eq!(old.concat(), b"{}", "a download under way is not torn");
}

#[tokio::test]
async fn a_jobs_artifacts_go_with_it() {
    let (_dir, blobs) = blobs();
    let other = JobId { number: 70, nonce: 0xabc };
    for (job, attempt) in [(JOB, 1), (JOB, 2), (other, 1)] {
        blobs.put_artifact(job, attempt, &path("a"), body(&[]), 10).await.unwrap();
    }
    blobs.delete_job(JOB).await.unwrap();
    blobs.delete_job(JOB).await.unwrap();
    assert!(blobs.artifact(JOB, 2, &path("a")).await.unwrap().is_none());
    let (_, empty) = blobs.artifact(other, 1, &path("a")).await.unwrap().unwrap();
    assert_eq!(all(&empty).await, b"");
}

#[tokio::test]
async fn old_uploads_are_forgotten() {
    let (_dir, blobs) = blobs();
    blobs.forget_uploads(std::time::Duration::ZERO).await.unwrap();
    blobs.put_upload("a", body(&[b"x"]), 10).await.unwrap();
    blobs.forget_uploads(std::time::Duration::from_secs(3600)).await.unwrap();
    assert_eq!(files(&blobs), 1);
    blobs.forget_uploads(std::time::Duration::ZERO).await.unwrap();
    assert_eq!(files(&blobs), 0);
}

#[test]
fn paths_that_leave_the_workspace_are_refused() {
    for text in ["", "/", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a/.", "a\0b", "a\nb", &"x".repeat(1025)]
    {
        assert_eq!(text.parse::<ArtifactPath>(), Err(InvalidArtifactPath), "{text:?}");
    }
}
