//! A stretch of network that can be cut, go silent, crawl, or lead elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What happens to bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Nothing passes, and nobody is told.
    Silent,
    /// Everything comes so much later.
    Late(Duration),
    /// One byte at a time.
    Drip,
}

/// Both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ways {
    pub(crate) there: Way,
    pub(crate) back: Way,
}

impl Ways {
    pub(crate) fn both(way: Way) -> Self {
        Self { there: way, back: way }
    }
}

/// Passes connections on to other addresses.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    to: Arc<Mutex<Vec<SocketAddr>>>,
    /// Ends all connections of now; replaced by a new one then.
    cut: Arc<Mutex<CancellationToken>>,
    ways: watch::Sender<Ways>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(to: SocketAddr) -> Self {
        Self::over(vec![to]).await
    }

    /// Each connection goes to the next address that can be reached.
    pub(crate) async fn over(to: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let to = Arc::new(Mutex::new(to));
        let cut = Arc::new(Mutex::new(CancellationToken::new()));
        let (ways, weather) = watch::channel(Ways::both(Way::Open));
        let (now, targets) = (Arc::clone(&cut), Arc::clone(&to));
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (cut, weather, targets) = (now.lock().clone(), weather.clone(), Arc::clone(&targets));
                tokio::spawn(async move {
                    // Who cannot be reached refuses by closing.
                    if let Some(far) = reach(&targets).await {
                        carry(near, far, cut, weather).await;
                    }
                });
            }
        });
        Self { address, to, cut, ways, task }
    }

    /// Resets every connection, wherever in a frame it is.
    pub(crate) fn cut(&self) {
        let old = std::mem::take(&mut *self.cut.lock());
        old.cancel();
    }

    /// Lets nothing pass, and tells nobody; or lets it pass again.
    pub(crate) fn hush(&self, silent: bool) {
        self.make(Ways::both(if silent { Way::Silent } else { Way::Open }));
    }

    /// Changes what happens to bytes on their way.
    pub(crate) fn make(&self, ways: Ways) {
        self.ways.send_replace(ways);
    }

    /// Leads elsewhere from now on, and resets what led to the old place.
    pub(crate) fn lead_to(&self, to: SocketAddr) {
        *self.to.lock() = vec![to];
        self.cut();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn reach(targets: &Mutex<Vec<SocketAddr>>) -> Option<TcpStream> {
    let order = {
        let mut targets = targets.lock();
        targets.rotate_left(1);
        targets.clone()
    };
    for target in order {
        if let Ok(far) = TcpStream::connect(target).await {
            return Some(far);
        }
    }
    None
}

async fn carry(mut near: TcpStream, mut far: TcpStream, cut: CancellationToken, ways: watch::Receiver<Ways>) {
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    {
        let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
        tokio::select! {
            () = cut.cancelled() => (),
            () = pass(near_in, far_out, ways.clone(), |ways| ways.there) => (),
            () = pass(far_in, near_out, ways, |ways| ways.back) => (),
        }
    }
    // Closed with data unsent, and without a goodbye.
    let _ = (near.set_zero_linger(), far.set_zero_linger());
}

async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut ways: watch::Receiver<Ways>,
    way: impl Fn(&Ways) -> Way + Copy,
) {
    // Small and of an odd size, so that a cut falls into the middle of frames.
    let mut buffer = [0; 1_499];
    loop {
        if ways.wait_for(|ways| way(ways) != Way::Silent).await.is_err() {
            return;
        }
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        let Ok(now) = ways.wait_for(|ways| way(ways) != Way::Silent).await.map(|ways| way(&ways)) else { return };
        let size = if now == Way::Drip { 1 } else { read };
        if let Way::Late(delay) = now {
            tokio::time::sleep(delay).await;
        }
        for piece in buffer[..read].chunks(size) {
            if to.write_all(piece).await.is_err() {
                return;
            }
        }
    }
}
