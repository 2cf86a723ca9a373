//! One SFTP channel: packets in, answers out.
//!
//! Clients send many requests ahead. What has come is answered in one go on a blocking thread, up to [`ANSWER_BYTES`], and sent
//! in one go. Guards: while a client does not read its answers, no more is answered, and no more than [`AHEAD_BYTES`] of
//! requests are kept; while files are slow, nothing is read from the client.

use std::pin::pin;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use russh::server::{Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};

use super::jail::Jail;
use super::places::Visit;
use super::requests::{PACKET_BYTES, Requests, Unreadable};

/// The one thing that can be asked of a channel.
pub(super) const SUBSYSTEM: &str = "sftp";

/// Answers that are made before they are sent; one may be longer.
const ANSWER_BYTES: usize = 1024 * 1024;
/// Requests that are taken from a client before those before them are answered.
const AHEAD_BYTES: usize = 4 * 1024 * 1024;

/// Why a channel was given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error("a packet of {0} bytes")]
    TooLong(usize),
    #[error("a packet that cannot be read: {0}")]
    Unreadable(#[from] Unreadable),
    #[error("requests are sent ahead while no answer is read")]
    TooFarAhead,
    #[error(transparent)]
    Ssh(#[from] russh::Error),
    #[error("the task that reads files is gone")]
    Task(#[from] tokio::task::JoinError),
}

/// Serves a channel until either side closes it. Until SFTP is asked for, nothing that comes means anything.
pub(super) async fn serve(channel: Channel<Msg>, connection: Handle, visit: Visit) {
    let id = channel.id();
    let (mut incoming, outgoing) = channel.split();
    loop {
        match incoming.wait().await {
            Some(ChannelMsg::RequestSubsystem { name, .. }) if name == SUBSYSTEM => break,
            Some(ChannelMsg::Close) | None => return,
            Some(_) => (),
        }
    }
    let mut stream = Stream { incoming, outgoing, received: BytesMut::new(), over: false };
    let served = stream.answer_all(visit).await;
    if let Err(error) = &served {
        tracing::warn!(%error, "an SFTP channel is given up");
    }
    // The connection may be gone.
    let _ = connection.exit_status_request(id, served.is_err().into()).await;
    let _ = connection.eof(id).await;
    let _ = connection.close(id).await;
}

struct Stream {
    incoming: ChannelReadHalf,
    outgoing: ChannelWriteHalf<Msg>,
    received: BytesMut,
    /// No more will come.
    over: bool,
}

impl Stream {
    async fn answer_all(&mut self, visit: Visit) -> Result<(), StreamError> {
        let mut requests = Requests::new(Jail::new(visit.root, visit.volumes_stay));
        let mut waiting = Vec::new();
        while !visit.over.is_cancelled() {
            if waiting.is_empty() {
                waiting = packets(&mut self.received)?;
            }
            if waiting.is_empty() {
                if self.over {
                    break;
                }
                self.receive().await;
                continue;
            }
            let over = visit.over.clone();
            let answered = tokio::task::spawn_blocking(move || {
                let mut answers = BytesMut::new();
                let mut left = waiting.into_iter();
                while answers.len() < ANSWER_BYTES
                    && !over.is_cancelled()
                    && let Some(request) = left.next()
                {
                    requests.answer(request, &mut answers)?;
                }
                Ok::<_, StreamError>((requests, left.collect(), answers.freeze()))
            });
            let answers;
            (requests, waiting, answers) = answered.await??;
            self.send(answers).await?;
        }
        Ok(())
    }

    /// Waits for something, and takes what else is there already.
    async fn receive(&mut self) {
        let mut message = self.incoming.wait().await;
        loop {
            self.take(message);
            if self.over || self.received.len() >= AHEAD_BYTES {
                return;
            }
            match self.incoming.wait().now_or_never() {
                Some(next) => message = next,
                None => return,
            }
        }
    }

    fn take(&mut self, message: Option<ChannelMsg>) {
        match message {
            Some(ChannelMsg::Data { data }) => self.received.extend_from_slice(&data),
            Some(ChannelMsg::Eof | ChannelMsg::Close) | None => self.over = true,
            // Nothing else means anything here.
            Some(_) => (),
        }
    }

    /// Sends. Goes on receiving meanwhile: the connection does one thing at a time, and must never wait for this end to
    /// read while this end waits for it to send.
    async fn send(&mut self, answers: Bytes) -> Result<(), StreamError> {
        let mut sending = pin!(self.outgoing.data_bytes(answers));
        loop {
            let message = tokio::select! {
                biased;
                sent = &mut sending => return Ok(sent?),
                message = self.incoming.wait(), if !self.over => message,
            };
            match message {
                Some(ChannelMsg::Data { data }) => self.received.extend_from_slice(&data),
                Some(ChannelMsg::Eof) => self.over = true,
                Some(ChannelMsg::Close) | None => return Err(russh::Error::Disconnect.into()),
                Some(_) => (),
            }
            if self.received.len() > AHEAD_BYTES {
                return Err(StreamError::TooFarAhead);
            }
        }
    }
}

/// Takes out the packets that are complete, without their lengths.
fn packets(received: &mut BytesMut) -> Result<Vec<Bytes>, StreamError> {
    let mut packets = Vec::new();
    while let Some(length) = received.first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        if length > PACKET_BYTES {
            return Err(StreamError::TooLong(length));
        }
        if received.len() < 4 + length {
            break;
        }
        received.advance(4);
        packets.push(received.split_to(length).freeze());
    }
    Ok(packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_taken_out_whole() {
        let mut received = BytesMut::from(&b"\0\0\0\x02ab\0\0\0\x01c\0\0\0\x02d"[..]);
        assert_eq!(packets(&mut received).unwrap(), ["ab", "c"]);
        assert_eq!(received, &b"\0\0\0\x02d"[..]);
        received.extend_from_slice(b"e");
        assert_eq!(packets(&mut received).unwrap(), ["de"]);
    }

    #[test]
    fn a_packet_over_the_limit_is_not_waited_for() {
        let mut received = BytesMut::from(&b"\x7f\xff\xff\xff"[..]);
        assert!(matches!(packets(&mut received), Err(StreamError::TooLong(0x7fff_ffff))));
    }
}
