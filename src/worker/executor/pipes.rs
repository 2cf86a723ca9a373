//! The ends of a program's pipes, of its terminal, or of its container's streams, that the agent holds.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::BufMut;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use pty_process::{OwnedReadPty, OwnedWritePty, Size};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::worker::engine::console::Console;

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
    /// A stream of a container. It ends by itself once the container has.
    Container(Console),
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
            Self::Container(console) => console.read_buf(&mut buffer).await,
        }
    }

    /// Appends what is there now, up to `most` bytes; 0 where there is nothing (more). Asks the
    /// kernel itself, because the runtime may not have heard yet.
    pub(crate) fn read_now(&self, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        let Some(fd) = self.fd() else { return Ok(0) };
        let start = buffer.len();
        buffer.resize(start + most.min(buffer.capacity() - start), 0);
        let read = loop {
            match nix::unistd::read(fd, &mut buffer[start..]) {
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
                let _ = self.fd().map(|fd| fcntl(fd, FcntlArg::F_SETPIPE_SZ(WIDE_PIPE)));
            }
            Self::Terminal { .. } | Self::Container(_) => (),
        }
    }

    /// Whether it ends by itself, and is to be read until it does.
    pub(crate) fn ends_by_itself(&self) -> bool {
        match self {
            Self::Stdout(_) | Self::Stderr(_) | Self::Terminal { .. } => false,
            Self::Container(_) => true,
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Stdout(pipe) => Some(pipe.as_fd()),
            Self::Stderr(pipe) => Some(pipe.as_fd()),
            Self::Terminal { fd, .. } => Some(fd.as_fd()),
            Self::Container(_) => None,
        }
    }
}

/// Where input goes.
pub(crate) enum Input {
    Pipe(ChildStdin),
    Terminal(OwnedWritePty),
    /// Of a container, with or without a terminal.
    Container {
        writer: Box<dyn AsyncWrite + Send + Unpin>,
        tty: bool,
    },
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pipe(_) => "Pipe",
            Self::Terminal(_) => "Terminal",
            Self::Container { .. } => "Container",
        })
    }
}

impl Input {
    /// Writes some of `bytes`. Dropping it half-way writes nothing.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.write(bytes).await,
            Self::Terminal(terminal) => terminal.write(bytes).await,
            Self::Container { writer, .. } => writer.write(bytes).await,
        }
    }

    /// What to write, instead of closing, to say that the input is over.
    pub(crate) fn eof(&self) -> Option<u8> {
        match self {
            Self::Pipe(_) | Self::Container { tty: false, .. } => None,
            Self::Terminal(_) | Self::Container { tty: true, .. } => Some(END_OF_TRANSMISSION),
        }
    }

    /// Changes the size of a terminal; pipes have none, and a container's engine has its own way.
    pub(crate) fn resize(&self, cols: u16, rows: u16) {
        match self {
            Self::Pipe(_) | Self::Container { .. } => (),
            Self::Terminal(terminal) => {
                // Only fails once the terminal is gone, and with it whoever would care.
                let _ = terminal.resize(Size::new(rows, cols));
            }
        }
    }
}
