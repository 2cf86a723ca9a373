//! One `run` or `exec`, from submit to exit status: the log to the printer, signals to orders.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::super::exit::Status;
use super::super::failure::Failure;
use super::super::follow::View;
use super::super::printer::{Printer, Target};
use super::super::render;
use super::control::{self, Order};
use super::input::{self, Until};
use super::terminal::{self, Asked, RawTerminal, Signals};
use crate::client::{FollowEvent, Follower};
use crate::config::ClientSettings;
use crate::model::{Entry, EntryKind};
use crate::protocol::JobId;
use crate::protocol::job::Status as JobStatus;
use crate::protocol::job::{JobEvent, Submitted};

/// Orders under way. Should the dispatcher be unreachable for long, further changes of the
/// window's size are dropped.
const ORDERS: usize = 16;
/// A submit that is under way when Ctrl-C comes has this long to be answered, so that the job
/// can be cancelled rather than left behind unseen.
const SUBMIT_GRACE: Duration = Duration::from_secs(1);
/// A job that was cancelled has this long beyond its grace to be over and told. Then something
/// on the way is stuck, and whoever asked for the end must not be, too. Where nobody reads any more,
/// that long is waited for the cancel itself.
const END_WITHIN: Duration = Duration::from_secs(5);

/// What is sent to the job's standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Feed {
    /// Nothing.
    None,
    /// Standard input as it is.
    Pipe,
    /// Every key of the terminal.
    Keys,
}

impl Feed {
    /// What a job is given that may have a terminal, and an input.
    pub(in crate::cli) fn of(tty: bool, input: bool) -> Self {
        // Keys make sense only where someone types them; a pipe is read when it is asked for.
        match (tty && io::stdin().is_terminal(), input) {
            (true, _) => Self::Keys,
            (false, true) => Self::Pipe,
            (false, false) => Self::None,
        }
    }
}

/// One `run` or `exec`.
#[derive(Debug)]
pub(in crate::cli) struct Session {
    pub(in crate::cli) settings: ClientSettings,
    pub(in crate::cli) json: bool,
    pub(in crate::cli) feed: Feed,
    /// What the job's terminal was asked to be: columns and rows of the one here.
    pub(in crate::cli) size: Option<(u16, u16)>,
    /// How long the job has between SIGTERM and SIGKILL once it is cancelled.
    pub(in crate::cli) grace: Duration,
}

/// How the session's loop came to its end.
enum Ending {
    /// The job is over; what there is to say about it.
    Job(Status, Option<String>),
    /// The user or the terminal left.
    Left,
    /// Nobody reads stdout any more, or it cannot be written.
    Printer,
    /// The log broke off.
    Log(Failure),
}

impl Session {
    /// Streams the job that `submitting` brings, to its end.
    pub(in crate::cli) async fn run(
        &self,
        submitting: impl Future<Output = Result<(Follower, Submitted), Failure>>,
        mut signals: Signals,
    ) -> Result<Status, Failure> {
        tokio::pin!(submitting);
        let mut stop = false;
        let opened = loop {
            tokio::select! {
                biased;
                result = &mut submitting => break result,
                asked = signals.next() => match asked {
                    Asked::Resize => (),
                    Asked::Stop | Asked::Leave => {
                        stop = true;
                        match timeout(SUBMIT_GRACE, &mut submitting).await {
                            Ok(result) => break result,
                            Err(_) => return Ok(Status::Cancelled),
                        }
                    }
                },
            }
        };
        let (follower, submitted) = opened?;
        self.stream(follower, submitted, signals, stop).await
    }

    async fn stream(
        &self,
        mut follower: Follower,
        submitted: Submitted,
        mut signals: Signals,
        stop: bool,
    ) -> Result<Status, Failure> {
        let job = submitted.job_id;
        let spinner = self.announce(&submitted)?;
        let (orders, taken) = mpsc::channel(ORDERS);
        // Both end with this function.
        let mut feeding = JoinSet::new();
        let control = control::run(self.settings.clone(), job, spinner.clone(), self.json, taken);
        let control = AbortOnDropHandle::new(tokio::spawn(control));
        let printer = Printer::start()?;
        if self.json {
            let mut line = serde_json::to_vec(&JobEvent::Submitted(submitted)).map_err(io::Error::from)?;
            line.push(b'\n');
            printer.print(Target::Stdout, line.into()).await;
        }
        let view = View { json: self.json, stdout: true, stderr: true };
        let mut give_up = None;
        if stop {
            give_up = Some(Instant::now() + self.grace + END_WITHIN);
            let _ = orders.try_send(Order::Cancel);
        }
        let mut raw = None;
        let mut fed = false;
        let mut end = None;

        let ending = loop {
            tokio::select! {
                biased;
                asked = signals.next() => match asked {
                    Asked::Resize => self.resize(&orders),
                    Asked::Leave => break Ending::Left,
                    Asked::Stop if give_up.is_some() => break Ending::Left,
                    Asked::Stop => {
                        give_up = Some(Instant::now() + self.grace + END_WITHIN);
                        if io::stderr().is_terminal() {
                            quiet(spinner.as_ref());
                            render::say(self.json, &format!("cancelling {job}; once more leaves it"));
                        }
                        let _ = orders.try_send(Order::Cancel);
                    }
                },
                () = until(give_up) => break Ending::Left,
                () = printer.over() => break Ending::Printer,
                // The next frame is read only once there is room for it: a terminal that stands
                // still slows the program down, and takes no memory.
                event = async {
                    let room = printer.ready().await?;
                    Some((room, follower.next().await))
                } => {
                    let (room, event) = match event {
                        Some((room, Ok(Some(event)))) => (room, event),
                        Some((_, Ok(None))) => match end {
                            Some((status, words)) => break Ending::Job(status, words),
                            None => break Ending::Log(Failure::failed("the log ended without an end")),
                        },
                        Some((_, Err(error))) => break Ending::Log(error.into()),
                        None => break Ending::Printer,
                    };
                    if let FollowEvent::Entry(Entry { kind, .. }) = &event {
                        quiet(spinner.as_ref());
                        match kind {
                            EntryKind::Status { status: JobStatus::Running, .. } if !fed => {
                                fed = true;
                                let _ = orders.try_send(Order::Started);
                                if terminal::size() != self.size {
                                    self.resize(&orders);
                                }
                                raw = self.feed_from_here(&mut feeding, job)?;
                            }
                            EntryKind::End { reason, exit_code, message, .. } => {
                                end = Some((Status::of_job(*reason, *exit_code), message.clone()));
                            }
                            EntryKind::Status { .. } | EntryKind::Output { .. } => (),
                        }
                    }
                    if let Some(piece) = view.show(job, event) {
                        room.send(piece);
                    }
                }
            }
        };
        quiet(spinner.as_ref());
        // Whoever does not want the rest of the output gets the status at once.
        let impatient = async {
            tokio::select! {
                () = signals.stop() => (),
                () = until(give_up) => (),
            }
        };
        let status = self.finish(ending, follower, printer, orders, control, impatient).await;
        // The terminal stays as it is until the last byte of the program is on it.
        drop(raw);
        status
    }

    /// Ends in the way that the session came to its end.
    async fn finish(
        &self,
        ending: Ending,
        follower: Follower,
        printer: Printer,
        orders: mpsc::Sender<Order>,
        control: AbortOnDropHandle<()>,
        impatient: impl Future<Output = ()>,
    ) -> Result<Status, Failure> {
        let job = follower.job_id();
        let goes_on = || {
            let words = format!("{job} goes on; gangline logs -f {job} shows it, gangline cancel {job} ends it");
            render::say(self.json, &words);
        };
        match ending {
            Ending::Job(status, words) => {
                follower.close().await;
                tokio::select! {
                    written = printer.finish() => match written {
                        Ok(()) => (),
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Status::BrokenPipe),
                        Err(error) => return Err(Failure::from(error).refused()),
                    },
                    () = impatient => (),
                }
                if let Some(words) = words
                    && !self.json
                {
                    render::say(false, &words);
                }
                Ok(status)
            }
            Ending::Left => {
                goes_on();
                Ok(Status::Cancelled)
            }
            Ending::Printer => {
                let error = printer.finish().await.err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
                // A local program would be ended by SIGPIPE; so is this one.
                let cancelled = async {
                    let _ = orders.send(Order::Cancel).await;
                    drop(orders);
                    let _ = control.await;
                };
                tokio::select! {
                    () = cancelled => (),
                    () = impatient => goes_on(),
                    () = sleep(END_WITHIN) => goes_on(),
                }
                match error.kind() {
                    io::ErrorKind::BrokenPipe => Ok(Status::BrokenPipe),
                    _ => Err(Failure::from(error).refused()),
                }
            }
            Ending::Log(failure) => {
                // What had come is written before the words about what has not.
                let _ = printer.finish().await;
                render::say(self.json, &format!("the job may still run: gangline logs -f {job}"));
                Err(failure)
            }
        }
    }

    /// Gives the job's terminal, where it has one, the size of the one here.
    fn resize(&self, orders: &mpsc::Sender<Order>) {
        // Room is kept for a cancel.
        if let (Some(_), Some((cols, rows))) = (self.size, terminal::size())
            && orders.capacity() > ORDERS / 2
        {
            let _ = orders.try_send(Order::Resize(cols, rows));
        }
    }

    /// Says the job's id where a person looks on, and readies a spinner for the wait.
    fn announce(&self, submitted: &Submitted) -> io::Result<Option<ProgressBar>> {
        if self.json || !io::stderr().is_terminal() {
            return Ok(None);
        }
        render::say(false, &submitted.job_id.to_string());
        if !io::stdout().is_terminal() {
            return Ok(None);
        }
        Ok(Some(ProgressBar::new_spinner()))
    }

    /// The job runs: from now on it gets what is typed or piped in here.
    fn feed_from_here(&self, feeding: &mut JoinSet<()>, job: JobId) -> io::Result<Option<RawTerminal>> {
        let raw = match self.feed {
            Feed::None => return Ok(None),
            Feed::Pipe => None,
            Feed::Keys => Some(RawTerminal::enter()?),
        };
        feeding.spawn(input::pump(self.settings.clone(), job, Until::End, self.json));
        Ok(raw)
    }
}

/// Resolves at the deadline; never where there is none.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Takes the spinner off the screen before something else is written there.
fn quiet(spinner: Option<&ProgressBar>) {
    if let Some(spinner) = spinner
        && !spinner.is_finished()
    {
        spinner.finish_and_clear();
    }
}
