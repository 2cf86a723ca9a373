//! A stretch of network that can be cut or go silent.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Passes connections on to another address.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// Ends all connections of now; replaced by a new one then.
    cut: Arc<Mutex<CancellationToken>>,
    silent: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let cut = Arc::new(Mutex::new(CancellationToken::new()));
        let (silent, hush) = watch::channel(false);
        let now = Arc::clone(&cut);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                // Who cannot be reached refuses by closing.
                let Ok(far) = TcpStream::connect(to).await else { continue };
                let (cut, hush) = (now.lock().clone(), hush.clone());
                tokio::spawn(carry(near, far, cut, hush));
            }
        });
        Self { address, cut, silent, task }
    }

    /// Resets every connection, wherever in a frame it is.
    pub(crate) fn cut(&self) {
        let old = std::mem::take(&mut *self.cut.lock());
        old.cancel();
    }

    /// Lets nothing pass, and tells nobody; or lets it pass again.
    pub(crate) fn hush(&self, silent: bool) {
        self.silent.send_replace(silent);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn carry(mut near: TcpStream, mut far: TcpStream, cut: CancellationToken, hush: watch::Receiver<bool>) {
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    {
        let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
        tokio::select! {
            () = cut.cancelled() => (),
            () = pass(near_in, far_out, hush.clone()) => (),
            () = pass(far_in, near_out, hush) => (),
        }
    }
    // Closed with data unsent, and without a goodbye.
    let _ = (near.set_zero_linger(), far.set_zero_linger());
}

async fn pass(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut hush: watch::Receiver<bool>) {
    // Small and of an odd size, so that a cut falls into the middle of frames.
    let mut buffer = [0; 1_499];
    loop {
        if hush.wait_for(|silent| !silent).await.is_err() {
            return;
        }
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        if hush.wait_for(|silent| !silent).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
