//! Connections that follow one log.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::peer::{Peer, job_verb};
use super::target::Target;
use crate::link::Address;

/// Connections that are opened at a time: within the backlog of a listening socket.
const AT_ONCE: usize = 64;

/// Opens `count` connections that follow a log by the frame `follow`, in turn to the server and to each of `also`, and
/// waits until each of them does.
pub(super) async fn open(
    target: &Target,
    also: &[Address],
    follow: &str,
    count: u64,
    time: std::time::Duration,
) -> Result<Vec<Peer>> {
    let mut addresses = std::iter::once(&target.address).chain(also).cycle();
    let follow: Arc<str> = follow.into();
    let doors = Arc::new(Semaphore::new(AT_ONCE));
    let mut opening = JoinSet::new();
    for _ in 0..count {
        // A cycle of at least one.
        let address = addresses.next().unwrap_or(&target.address).clone();
        let token = target.token.clone();
        let (doors, follow) = (Arc::clone(&doors), Arc::clone(&follow));
        opening.spawn(async move {
            let _door = doors.acquire_owned().await?;
            let mut peer = Peer::connect(&address, token.as_ref()).await?;
            peer.out().text(follow.as_bytes());
            let mut following = false;
            while !following {
                peer.turn(|frame, _| {
                    following |= job_verb(frame) == Some("following");
                    Ok(())
                })
                .await?;
            }
            Ok::<_, anyhow::Error>(peer)
        });
    }
    let all = async {
        let mut peers = Vec::new();
        while let Some(peer) = opening.join_next().await {
            peers.push(peer??);
        }
        Ok::<_, anyhow::Error>(peers)
    };
    timeout(time, all).await.context("the connections were not all opened in time")?
}
