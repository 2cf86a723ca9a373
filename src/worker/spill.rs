//! The part of a log that does not fit in memory: one file, written at its end, read anywhere.
//!
//! It outlives nothing: the file is gone when the log is, and an agent that starts removes
//! those of its predecessor. So it is never synced to disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::fcntl::{FallocateFlags, fallocate};

use crate::link::Utf8Bytes;

/// A file that is made with the first write.
#[derive(Debug)]
pub(crate) struct Spill {
    path: PathBuf,
    file: Option<File>,
    end: u64,
    /// What lies before is given back.
    released: u64,
}

/// Least that is given back at once.
const PIECE: u64 = 4 * 1024 * 1024;

impl Spill {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None, end: 0, released: 0 }
    }

    /// Writes `text` and says where.
    pub(crate) fn write(&mut self, text: &str) -> io::Result<u64> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                none.insert(OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&self.path)?)
            }
        };
        file.write_all_at(text.as_bytes(), self.end)?;
        let at = self.end;
        self.end += text.len() as u64;
        Ok(at)
    }

    /// What was written at `at`.
    pub(crate) fn read(&self, at: u64, len: usize) -> io::Result<Utf8Bytes> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, at)?;
        String::from_utf8(bytes).map(Into::into).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// Gives the space back of all that was written before `at`, where the file system can, a good piece at a time.
    pub(crate) fn release_before(&mut self, at: u64) {
        let len = at.saturating_sub(self.released);
        if let (Some(file), true, Ok(from), Ok(size)) =
            (&self.file, len >= PIECE, i64::try_from(self.released), i64::try_from(len))
        {
            let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            // Where it cannot, the file goes with the log.
            let _ = fallocate(file, punch, from, size);
            self.released = at;
        }
    }

    /// Gives the space back; nothing that was written is needed any more.
    pub(crate) fn clear(&mut self) {
        if self.end > 0 && self.file.as_ref().is_some_and(|file| file.set_len(0).is_ok()) {
            (self.end, self.released) = (0, 0);
        }
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        if self.file.is_some() {
            // A leftover is removed when the next agent starts.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
