//! The ends of a program's pipes, or of its terminal, that the agent holds.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::BufMut;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use pty_process::{OwnedReadPty, OwnedWritePty, Size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

/// Size of the pipe of a program that fills the usual 64 KiB: fewer switches between it and us.
const WIDE_PIPE: i32 = 256 * 1024;

/// What a terminal takes for the end of input.
const END_OF_TRANSMISSION: u8 = 0x04;

/// Where output comes from.
#[derive(Debug)]
pub(crate) enum Output {
    Stdout(ChildStdout),
    Stderr(ChildStderr),
    Terminal {
        reader: OwnedReadPty,
        /// The same terminal, for [`Output::read_now`].
        fd: OwnedFd,
    },
}

impl Output {
    /// Appends up to `most` bytes, as soon as there are any; 0 is the end. Dropping it half-way
    /// loses nothing.
    pub(crate) async fn read(&mut self, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        let mut buffer = buffer.limit(most);
        match self {
            Self::Stdout(pipe) => pipe.read_buf(&mut buffer).await,
            Self::Stderr(pipe) => pipe.read_buf(&mut buffer).await,
            Self::Terminal { reader, .. } => match reader.read_buf(&mut buffer).await {
                // How a terminal says that nobody holds its other end.
                Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => Ok(0),
                read => read,
            },
        }
    }

    /// Appends what is there now, up to `most` bytes; 0 where there is nothing (more). Asks the
    /// kernel itself, because the runtime may not have heard yet.
    pub(crate) fn read_now(&self, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        let start = buffer.len();
        buffer.resize(start + most.min(buffer.capacity() - start), 0);
        let read = loop {
            match nix::unistd::read(self.fd(), &mut buffer[start..]) {
                Err(Errno::EINTR) => (),
                Err(Errno::EAGAIN | Errno::EIO) => break Ok(0),
                read => break read.map_err(io::Error::from),
            }
        };
        buffer.truncate(start + read.as_ref().map_or(0, |&read| read));
        read
    }

    /// Makes a pipe larger, where the system lets us.
    pub(crate) fn widen(&self) {
        match self {
            Self::Stdout(_) | Self::Stderr(_) => {
                // Over the user's limit it stays as it is, which is slower and no more.
                let _ = fcntl(self.fd(), FcntlArg::F_SETPIPE_SZ(WIDE_PIPE));
            }
            Self::Terminal { .. } => (),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stdout(pipe) => pipe.as_fd(),
            Self::Stderr(pipe) => pipe.as_fd(),
            Self::Terminal { fd, .. } => fd.as_fd(),
        }
    }
}

/// Where input goes.
#[derive(Debug)]
pub(crate) enum Input {
    Pipe(ChildStdin),
    Terminal(OwnedWritePty),
}

impl Input {
    /// Writes some of `bytes`. Dropping it half-way writes nothing.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.write(bytes).await,
            Self::Terminal(terminal) => terminal.write(bytes).await,
        }
    }

    /// What to write, instead of closing, to say that the input is over.
    pub(crate) fn eof(&self) -> Option<u8> {
        match self {
            Self::Pipe(_) => None,
            Self::Terminal(_) => Some(END_OF_TRANSMISSION),
        }
    }

    /// Changes the size of a terminal; pipes have none.
    pub(crate) fn resize(&self, cols: u16, rows: u16) {
        match self {
            Self::Pipe(_) => (),
            Self::Terminal(terminal) => {
                // Only fails once the terminal is gone, and with it whoever would care.
                let _ = terminal.resize(Size::new(rows, cols));
            }
        }
    }
}
