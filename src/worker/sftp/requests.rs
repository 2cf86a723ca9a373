//! Answers SFTP requests, version 3, one after the other.
//!
//! All of it blocks on files and on nothing else; whoever calls does so away from the runtime. Guards: what a client may have
//! open at a time, and how large one answer is. Not here: which files (`jail`), bytes on their way (`stream`).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::{BufMut, Bytes, BytesMut};
use cap_std::fs::ReadDir;
use chrono::Local;
use russh_sftp::extensions::{FSYNC, FsyncExtension, HardlinkExtension, LIMITS, LimitsExtension};
use russh_sftp::protocol::{
    Attrs, Extended, ExtendedReply, File as Named, FileAttributes, Handle, Name, Packet, Read, Status, StatusCode,
    Version, Write,
};
use russh_sftp::{de, ser};

use super::jail::{self, Jail};
use super::long_name::long_name;

/// Largest packet, both ways; what OpenSSH's server takes.
pub(super) const PACKET_BYTES: usize = 256 * 1024;
/// Bytes of a file in one packet, with room for what is around them.
const FILE_BYTES: usize = PACKET_BYTES - 1024;
/// Files and directories that one client may have open.
const OPEN_MOST: usize = 64;
/// Entries of a directory in one packet. A name is 255 bytes at the most, and comes twice: they fit.
const ENTRIES: usize = 128;
/// Renames over what is there, in one step.
const POSIX_RENAME: &str = "posix-rename@openssh.com";
/// What an answer with bytes of a file begins with: length, kind, id, length of the bytes.
const DATA_HEAD: usize = 4 + 1 + 4 + 4;
/// Its kind.
const SSH_FXP_DATA: u8 = 103;

/// What one client does.
#[derive(Debug)]
pub(super) struct Requests {
    jail: Jail,
    open: BTreeMap<u32, Open>,
    last: u32,
}

/// What a handle stands for.
#[derive(Debug)]
enum Open {
    File(File),
    Dir(ReadDir),
}

/// Why a request was not carried out.
struct Refusal {
    code: StatusCode,
    message: String,
}

impl Refusal {
    fn new(code: StatusCode) -> Self {
        Self { code, message: code.to_string() }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => StatusCode::NoSuchFile,
            io::ErrorKind::PermissionDenied => StatusCode::PermissionDenied,
            // The rest has no code in version 3 of the protocol.
            _ => StatusCode::Failure,
        };
        Self { code, message: error.to_string() }
    }
}

impl From<Unreadable> for Refusal {
    fn from(error: Unreadable) -> Self {
        Self { code: StatusCode::BadMessage, message: error.to_string() }
    }
}

/// Bytes that are no packet of SFTP.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreadable(String);

/// The codec does not name its error.
fn unreadable(error: impl fmt::Display) -> Unreadable {
    Unreadable(error.to_string())
}

impl Requests {
    /// Of a client that may see what is in `jail`.
    pub(super) fn new(jail: Jail) -> Self {
        Self { jail, open: BTreeMap::new(), last: 0 }
    }

    /// Carries out one request, and adds its answer to `answers`.
    ///
    /// # Errors
    /// The request, or its answer, cannot be read or written.
    pub(super) fn answer(&mut self, mut request: Bytes, answers: &mut BytesMut) -> Result<(), Unreadable> {
        let request = Packet::try_from(&mut request).map_err(unreadable)?;
        if let Packet::Read(read) = request {
            return self.read(&read, answers);
        }
        let id = request.get_request_id();
        let answer = self.carry_out(id, request).unwrap_or_else(|refusal| status(id, refusal));
        answers.extend_from_slice(&Bytes::try_from(answer).map_err(unreadable)?);
        Ok(())
    }

    fn carry_out(&mut self, id: u32, request: Packet) -> Result<Packet, Refusal> {
        let done = || Ok(status(id, Refusal::new(StatusCode::Ok)));
        match request {
            Packet::Init(_) => return Ok(Packet::Version(version())),
            Packet::Open(open) => {
                self.check_room()?;
                let file = self.jail.open(&open.filename, open.pflags, &open.attrs)?;
                return Ok(self.handle(id, Open::File(file)));
            }
            Packet::OpenDir(open) => {
                self.check_room()?;
                let dir = self.jail.list(&open.path)?;
                return Ok(self.handle(id, Open::Dir(dir)));
            }
            Packet::Close(close) => _ = self.open.remove(&number(&close.handle)?).ok_or_else(no_handle)?,
            Packet::Write(Write { id: _, handle, offset, data }) => self.file(&handle)?.write_all_at(&data, offset)?,
            Packet::ReadDir(read) => return self.entries(id, &read.handle),
            Packet::Stat(stat) => return Ok(known(id, self.jail.stat(&stat.path)?)),
            Packet::Lstat(stat) => return Ok(known(id, self.jail.lstat(&stat.path)?)),
            Packet::Fstat(stat) => {
                let metadata = cap_std::fs::Metadata::from_file(self.file(&stat.handle)?)?;
                return Ok(known(id, jail::attributes(&metadata)));
            }
            Packet::SetStat(set) => self.jail.set(&set.path, &set.attrs)?,
            Packet::FSetStat(set) => jail::set(self.file(&set.handle)?, &set.attrs)?,
            Packet::Remove(remove) => self.jail.remove_file(&remove.filename)?,
            Packet::MkDir(make) => self.jail.make_dir(&make.path, &make.attrs)?,
            Packet::RmDir(remove) => self.jail.remove_dir(&remove.path)?,
            Packet::Rename(rename) => self.jail.rename(&rename.oldpath, &rename.newpath, false)?,
            Packet::RealPath(path) => return Ok(named(id, Jail::canonical(&path.path))),
            Packet::ReadLink(link) => {
                return Ok(named(id, self.jail.read_link(&link.path)?.to_string_lossy().into_owned()));
            }
            Packet::Extended(extended) => {
                return self.extended(id, extended).map_or_else(Err, |it| it.map_or_else(done, Ok));
            }
            // Nothing that this server follows may lead anywhere else.
            Packet::Symlink(_) => return Err(Refusal::new(StatusCode::OpUnsupported)),
            Packet::Read(_)
            | Packet::Version(_)
            | Packet::Status(_)
            | Packet::Handle(_)
            | Packet::Data(_)
            | Packet::Name(_)
            | Packet::Attrs(_)
            | Packet::ExtendedReply(_) => return Err(Refusal::new(StatusCode::BadMessage)),
        }
        done()
    }

    /// Written by hand: the bytes go from the file to where they are sent from, without a copy on the way.
    fn read(&self, read: &Read, answers: &mut BytesMut) -> Result<(), Unreadable> {
        let Read { id, handle, offset, len } = read;
        let start = answers.len();
        let most = usize::try_from(*len).unwrap_or(FILE_BYTES).min(FILE_BYTES);
        answers.resize(start + DATA_HEAD + most, 0);
        let got = self.file(handle).and_then(|file| Ok(file.read_at(&mut answers[start + DATA_HEAD..], *offset)?));
        let refusal = match got {
            Ok(0) => Refusal::new(StatusCode::Eof),
            Ok(got) => {
                answers.truncate(start + DATA_HEAD + got);
                let mut head = &mut answers[start..start + DATA_HEAD];
                let got = u32::try_from(got).unwrap_or(u32::MAX);
                head.put_u32(got + 9);
                head.put_u8(SSH_FXP_DATA);
                head.put_u32(*id);
                head.put_u32(got);
                return Ok(());
            }
            Err(refusal) => refusal,
        };
        answers.truncate(start);
        answers.extend_from_slice(&Bytes::try_from(status(*id, refusal)).map_err(unreadable)?);
        Ok(())
    }

    fn extended(&self, id: u32, extended: Extended) -> Result<Option<Packet>, Refusal> {
        let mut data = Bytes::from(extended.data);
        match extended.request.as_str() {
            LIMITS => {
                let limits = LimitsExtension {
                    max_packet_len: PACKET_BYTES as u64,
                    max_read_len: FILE_BYTES as u64,
                    max_write_len: FILE_BYTES as u64,
                    max_open_handles: OPEN_MOST as u64,
                };
                return Ok(Some(Packet::ExtendedReply(ExtendedReply {
                    id,
                    data: ser::to_bytes(&limits).map_err(unreadable)?.to_vec(),
                })));
            }
            POSIX_RENAME => {
                // Two paths, as here.
                let HardlinkExtension { oldpath, newpath } = de::from_bytes(&mut data).map_err(unreadable)?;
                self.jail.rename(&oldpath, &newpath, true)?;
            }
            FSYNC => {
                let FsyncExtension { handle } = de::from_bytes(&mut data).map_err(unreadable)?;
                self.file(&handle)?.sync_all()?;
            }
            _ => return Err(Refusal::new(StatusCode::OpUnsupported)),
        }
        Ok(None)
    }

    fn entries(&mut self, id: u32, handle: &str) -> Result<Packet, Refusal> {
        let Some(Open::Dir(dir)) = self.open.get_mut(&number(handle)?) else { return Err(no_handle()) };
        let now = Local::now();
        let mut files = Vec::new();
        for entry in dir.take(ENTRIES) {
            let entry = entry?;
            // What was removed since is left out.
            let Ok(metadata) = entry.metadata() else { continue };
            let filename = entry.file_name().to_string_lossy().into_owned();
            let longname = long_name(&filename, &metadata, &now);
            files.push(Named { filename, longname, attrs: jail::attributes(&metadata) });
        }
        if files.is_empty() {
            return Err(Refusal::new(StatusCode::Eof));
        }
        Ok(Packet::Name(Name { id, files }))
    }

    fn check_room(&self) -> Result<(), Refusal> {
        if self.open.len() < OPEN_MOST {
            return Ok(());
        }
        Err(Refusal { code: StatusCode::Failure, message: format!("{OPEN_MOST} files are open; close some") })
    }

    fn handle(&mut self, id: u32, open: Open) -> Packet {
        self.last = self.last.wrapping_add(1);
        self.open.insert(self.last, open);
        Packet::Handle(Handle { id, handle: self.last.to_string() })
    }

    fn file(&self, handle: &str) -> Result<&File, Refusal> {
        match self.open.get(&number(handle)?) {
            Some(Open::File(file)) => Ok(file),
            Some(Open::Dir(_)) | None => Err(no_handle()),
        }
    }
}

fn number(handle: &str) -> Result<u32, Refusal> {
    handle.parse().map_err(|_| no_handle())
}

fn no_handle() -> Refusal {
    Refusal { code: StatusCode::Failure, message: "no such handle".to_owned() }
}

fn version() -> Version {
    let extensions = [(POSIX_RENAME, "1"), (LIMITS, "1"), (FSYNC, "1")];
    let extensions = extensions.map(|(name, version)| (name.to_owned(), version.to_owned()));
    Version { extensions: HashMap::from(extensions), ..Version::new() }
}

fn status(id: u32, refusal: Refusal) -> Packet {
    let Refusal { code, message } = refusal;
    Packet::Status(Status { id, status_code: code, error_message: message, language_tag: String::new() })
}

fn known(id: u32, attrs: FileAttributes) -> Packet {
    Packet::Attrs(Attrs { id, attrs })
}

fn named(id: u32, path: String) -> Packet {
    Packet::Name(Name { id, files: vec![Named::dummy(path)] })
}
