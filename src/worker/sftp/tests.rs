//! Requests that OpenSSH's own programs do not send.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use russh_sftp::extensions::HardlinkExtension;
use russh_sftp::protocol::{
    Close, Data, Extended, FSetStat, FileAttributes, Handle, Open, OpenDir, OpenFlags, Packet, Read, ReadDir, Rename,
    SetStat, Status, StatusCode, Symlink, Write,
};
use russh_sftp::ser;
use tempfile::TempDir;

use super::jail::Jail;
use super::requests::Requests;

/// A client that sends what it likes.
struct Client {
    requests: Requests,
    root: TempDir,
}

impl Client {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        let dir = Dir::open_ambient_dir(root.path(), ambient_authority()).unwrap();
        Self { requests: Requests::new(Jail::new(Arc::new(dir), false)), root }
    }

    fn ask(&mut self, request: impl Into<Packet>) -> Packet {
        let mut bytes = Bytes::try_from(request.into()).unwrap();
        bytes.advance(4);
        let mut answers = BytesMut::new();
        self.requests.answer(bytes, &mut answers).unwrap();
        assert_eq!(answers.get_u32() as usize, answers.len(), "one whole packet");
        Packet::try_from(&mut answers.freeze()).unwrap()
    }

    fn status(&mut self, request: impl Into<Packet>) -> StatusCode {
        match self.ask(request) {
            Packet::Status(Status { status_code, .. }) => status_code,
            other => panic!("expected a status, got {other:?}"),
        }
    }

    fn open(&mut self, name: &str, pflags: OpenFlags) -> Result<String, StatusCode> {
        match self.ask(Open { id: 1, filename: name.to_owned(), pflags, attrs: FileAttributes::empty() }) {
            Packet::Handle(Handle { id: 1, handle }) => Ok(handle),
            Packet::Status(status) => Err(status.status_code),
            other => panic!("expected a handle, got {other:?}"),
        }
    }

    fn write(&mut self, handle: &str, offset: u64, data: &str) -> StatusCode {
        self.status(Write { id: 2, handle: handle.to_owned(), offset, data: data.as_bytes().to_vec() })
    }

    fn read(&mut self, handle: &str, offset: u64, len: u32) -> Result<Vec<u8>, StatusCode> {
        match self.ask(Read { id: 3, handle: handle.to_owned(), offset, len }) {
            Packet::Data(Data { id: 3, data }) => Ok(data),
            Packet::Status(status) => Err(status.status_code),
            other => panic!("expected data, got {other:?}"),
        }
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.root.path().join(name)).unwrap()
    }
}

#[test]
fn reads_end_with_the_file_and_are_bounded() {
    let mut client = Client::new();
    fs::write(client.root.path().join("file"), vec![7; 600_000]).unwrap();
    let handle = client.open("file", OpenFlags::READ).unwrap();
    assert_eq!(client.read(&handle, 599_998, 100).unwrap(), [7, 7]);
    assert_eq!(client.read(&handle, 600_000, 100), Err(StatusCode::Eof));
    assert_eq!(client.read(&handle, u64::MAX, 100), Err(StatusCode::Failure));
    assert_eq!(client.read(&handle, 0, u32::MAX).unwrap().len(), 255 * 1024);
    assert_eq!(client.write(&handle, 0, "x"), StatusCode::Failure, "it is open for reading");
    assert_eq!(client.status(Close { id: 4, handle: handle.clone() }), StatusCode::Ok);
    assert_eq!(client.read(&handle, 0, 1), Err(StatusCode::Failure));
    assert_eq!(client.read("no number", 0, 1), Err(StatusCode::Failure));
}

#[test]
fn files_are_appended_to_made_anew_or_cut_as_asked() {
    let mut client = Client::new();
    let new = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
    let handle = client.open("file", new).unwrap();
    assert_eq!(client.write(&handle, 2, "cd"), StatusCode::Ok);
    assert_eq!(client.write(&handle, 0, "ab"), StatusCode::Ok);
    assert_eq!(client.open("file", new), Err(StatusCode::Failure), "it is there");
    let handle = client.open("file", OpenFlags::WRITE | OpenFlags::APPEND).unwrap();
    assert_eq!(client.write(&handle, 0, "ef"), StatusCode::Ok);
    assert_eq!(client.file("file"), "abcdef");
    let attrs = FileAttributes { size: Some(3), ..FileAttributes::empty() };
    assert_eq!(client.status(SetStat { id: 5, path: "file".to_owned(), attrs: attrs.clone() }), StatusCode::Ok);
    assert_eq!(client.file("file"), "abc");
    let attrs = FileAttributes { size: Some(1), ..attrs };
    assert_eq!(client.status(FSetStat { id: 5, handle, attrs }), StatusCode::Ok);
    assert_eq!(client.file("file"), "a");
}

#[test]
fn a_pipe_is_changed_and_never_opened() {
    let mut client = Client::new();
    let path = client.root.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let changed =
        FileAttributes { permissions: Some(0o640), atime: Some(1), mtime: Some(2), ..FileAttributes::empty() };
    assert_eq!(client.status(SetStat { id: 5, path: "pipe".to_owned(), attrs: changed }), StatusCode::Ok);
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.mode() & 0o7777, found.atime(), found.mtime()), (0o640, 1, 2));
    assert_eq!(client.open("pipe", OpenFlags::READ), Err(StatusCode::Failure));
    assert_eq!(client.open("pipe", OpenFlags::WRITE | OpenFlags::CREATE), Err(StatusCode::Failure));
}

#[test]
fn nobody_becomes_anybody_else_by_a_file() {
    let mut client = Client::new();
    let path = client.root.path().join("file");
    fs::write(&path, "").unwrap();
    let handle = client.open("file", OpenFlags::WRITE).unwrap();
    let mut set = |attrs: FileAttributes| {
        let by_handle = FSetStat { id: 6, handle: handle.clone(), attrs: attrs.clone() };
        [client.status(SetStat { id: 6, path: "/file".to_owned(), attrs }), client.status(by_handle)]
    };
    let setuid = FileAttributes { permissions: Some(0o106_755), ..FileAttributes::empty() };
    assert_eq!(set(setuid), [StatusCode::Ok; 2]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o755);
    let owner = FileAttributes { uid: Some(1), gid: Some(1), permissions: Some(0o777), ..FileAttributes::empty() };
    assert_eq!(set(owner), [StatusCode::PermissionDenied; 2]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o755, "all of it or nothing");
    let times = FileAttributes { atime: Some(1), mtime: Some(u32::MAX), ..FileAttributes::empty() };
    assert_eq!(set(times), [StatusCode::Ok; 2]);
    assert_eq!(fs::metadata(&path).unwrap().mtime(), i64::from(u32::MAX));
}

#[test]
fn a_rename_replaces_only_where_that_is_asked_for() {
    let mut client = Client::new();
    for name in ["a", "b"] {
        fs::write(client.root.path().join(name), name).unwrap();
    }
    let [oldpath, newpath] = ["a", "b"].map(str::to_owned);
    let rename = Rename { id: 7, oldpath: oldpath.clone(), newpath: newpath.clone() };
    assert_eq!(client.status(rename), StatusCode::Failure);
    assert_eq!(client.file("b"), "b");
    let data = ser::to_bytes(&HardlinkExtension { oldpath, newpath }).unwrap().to_vec();
    let request = "posix-rename@openssh.com".to_owned();
    assert_eq!(client.status(Extended { id: 7, request: request.clone(), data }), StatusCode::Ok);
    assert_eq!(client.file("b"), "a");
    assert_eq!(client.status(Extended { id: 7, request, data: vec![0, 0, 0, 9] }), StatusCode::BadMessage);
    assert_eq!(
        client.status(Extended { id: 7, request: "hardlink@openssh.com".to_owned(), data: vec![] }),
        StatusCode::OpUnsupported
    );
    let link = Symlink { id: 7, linkpath: "b".to_owned(), targetpath: "c".to_owned() };
    assert_eq!(client.status(link), StatusCode::OpUnsupported);
}

#[test]
fn what_is_open_is_bounded_and_long_directories_come_in_parts() {
    let mut client = Client::new();
    for number in 0..300 {
        fs::write(client.root.path().join(format!("{number}-{}", "x".repeat(200))), "").unwrap();
    }
    let Packet::Handle(Handle { handle, .. }) = client.ask(OpenDir { id: 8, path: String::new() }) else {
        panic!("a handle");
    };
    let mut parts = Vec::new();
    while let Packet::Name(names) = client.ask(ReadDir { id: 8, handle: handle.clone() }) {
        parts.push(names.files.len());
    }
    assert_eq!(parts, [128, 128, 44]);
    let opened = (0..100).filter(|_| client.open("new", OpenFlags::WRITE | OpenFlags::CREATE).is_ok()).count();
    assert_eq!(opened, 63, "with the directory");
    assert_eq!(client.status(Close { id: 8, handle }), StatusCode::Ok);
    client.open("new", OpenFlags::READ).unwrap();
}

#[test]
fn what_is_no_request_is_refused_and_what_is_no_packet_ends_it() {
    let mut client = Client::new();
    assert_eq!(client.status(Data { id: 9, data: vec![] }), StatusCode::BadMessage);
    for garbage in [&b""[..], b"\x03", b"\xff\0\0\0\x01", b"\x05\0\0\0\x01\xff\xff\xff\xff"] {
        let refused = client.requests.answer(Bytes::copy_from_slice(garbage), &mut BytesMut::new());
        assert!(refused.is_err(), "{garbage:?}");
    }
}

#[test]
fn of_a_container_everything_is_renamed_but_what_the_engine_mounts() {
    let dir = TempDir::new().unwrap();
    for made in ["volumes/world/region", "mods/old", "fake/world"] {
        fs::create_dir_all(dir.path().join(made)).unwrap();
    }
    fs::write(dir.path().join("file"), "x").unwrap();
    let links = [("/", "link"), ("volumes", "to-volumes"), ("../volumes", "mods/to-volumes"), (".", "to-root")];
    for (to, name) in links {
        std::os::unix::fs::symlink(to, dir.path().join(name)).unwrap();
    }
    let root = Arc::new(Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap());
    let container = Jail::new(Arc::clone(&root), true);
    for (from, to) in [
        ("volumes", "moved"),
        ("fake", "volumes"),
        ("volumes/world", "moved"),
        ("link", "volumes/evil"),
        ("file", "volumes/world"),
        ("link", "mods/../volumes/evil"),
        ("link", "to-volumes/evil"),
        ("link", "mods/to-volumes/evil"),
        ("to-root/volumes", "moved"),
        ("fake", "to-root/volumes"),
        ("link", "to-root/mods/to-volumes/evil"),
        ("to-volumes/world", "moved"),
        ("/", "moved"),
        ("fake", "/"),
    ] {
        let refused = container.rename(from, to, true).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{from} to {to}: {refused}");
    }
    for (from, to) in [
        ("mods", "mods-1"),
        ("mods-1/old", "volumes/world/old"),
        ("to-volumes/world/region", "to-volumes/world/region-1"),
        ("fake", "mods-1/volumes"),
        ("link", "mods-1/volumes/world/link"),
        ("file", "to-root/file-1"),
    ] {
        container.rename(from, to, false).unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
    }
    assert!(dir.path().join("volumes/world/region-1").is_dir() && dir.path().join("volumes/world/old").is_dir());
    // Nor where there are none yet.
    fs::rename(dir.path().join("volumes"), dir.path().join("gone")).unwrap();
    assert_eq!(container.rename("gone", "volumes", false).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    Jail::new(root, false).rename("gone", "volumes", false).unwrap();
}
