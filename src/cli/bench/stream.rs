//! The output of one program, live: through a real worker and the dispatcher, stored, to a follower.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::time::timeout;

use super::agent::Agent;
use super::lines::{self, Expected, LINE};
use super::peer::find;
use super::report::Report;
use super::submitter::{News, Submitter};
use super::target::{Meter, Target};
use crate::config::{Size, Span};
use crate::protocol::codec::{ToClient, read_at_client};
use crate::protocol::job::JobEvent;
use crate::protocol::spec::JobSpec;

/// The workload.
#[derive(Debug, clap::Args)]
pub(super) struct StreamArgs {
    /// Bytes that the program writes as fast as it can
    #[arg(long, value_name = "SIZE", default_value = "1GB")]
    bytes: Size,
    /// Time between lines, for how long one takes
    #[arg(long, value_name = "TIME", default_value = "10ms")]
    every: Span,
    /// Lines at that pace
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    lines: u64,
}

pub(super) async fn run(target: &Target, args: &StreamArgs, time: Duration, report: &mut Report) -> Result<()> {
    let agent = Agent::start(target, 1)?;
    // The first job waits for the worker to register, which is none of the stream's business.
    let mut expected = Expected::new();
    follow(target, &["--bytes", "80"], time, |text| expected.take(text)).await?;
    expected.finish(LINE as u64)?;

    if args.bytes.0 > 0 {
        let bytes = args.bytes.0.next_multiple_of(LINE as u64);
        let mut expected = Expected::new();
        let meter = Meter::start(target, agent.process())?;
        let elapsed = follow(target, &["--bytes", &bytes.to_string()], time, |text| expected.take(text)).await?;
        expected.finish(bytes)?;
        let case = format!("{} MB in lines of {LINE}", bytes / 1_000_000);
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2⁵²")]
        report.add(&case, "output", bytes as f64 / 1e6 / elapsed.as_secs_f64(), "MB/s")?;
        report.used(&case, &meter)?;
    }
    if args.lines > 0 {
        let case = format!("a line every {}", humantime::format_duration(args.every.0));
        let bytes = (args.lines * LINE as u64).to_string();
        let every = humantime::format_duration(args.every.0).to_string();
        let mut ages = Vec::new();
        let flags = ["--bytes", &bytes, "--every", &every];
        let limit = time + args.every.0 * u32::try_from(args.lines)?;
        follow(target, &flags, limit, |text| lines::ages(text, &mut ages)).await?;
        ensure!(ages.len() as u64 == args.lines, "{} lines came of {}", ages.len(), args.lines);
        report.latencies(&case, ages)?;
    }
    agent.end().await
}

/// Runs `bench lines` as a job, and takes the text of each chunk as JSON holds it. Returns how long it all took.
async fn follow(
    target: &Target,
    flags: &[&str],
    time: Duration,
    mut on_text: impl FnMut(&[u8]) -> Result<()>,
) -> Result<Duration> {
    let program = std::env::current_exe()?.into_os_string().into_string().ok().context("a path that is not text")?;
    let flags = ["bench", "lines"].iter().chain(flags).map(|&flag| flag.to_owned());
    let spec = JobSpec { args: Some(std::iter::once(program).chain(flags).collect()), ..JobSpec::default() };
    let mut submitter = Submitter::connect(target, spec, true).await?;
    let began = Instant::now();
    submitter.submit(1);
    let mut completed = false;
    let all = async {
        while submitter.under_way() > 0 {
            submitter
                .turn(|news| {
                    match news {
                        News::Submitted => (),
                        News::Output(frame) => on_text(&text(frame)?)?,
                        News::Ended(frame) => completed = find(frame, br#""status":"completed""#).is_some(),
                    }
                    Ok(())
                })
                .await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    timeout(time, all).await.context("the output did not come in time")??;
    ensure!(completed, "the program failed");
    Ok(began.elapsed())
}

/// The text of a chunk, still escaped. It is looked for where dispatchers write it, and only read as JSON
/// where it is not there.
fn text(frame: &[u8]) -> Result<Cow<'_, [u8]>> {
    const BEGIN: &[u8] = br#","text":""#;
    const END: &[u8] = br#"","time":"#;
    /// A moment in milliseconds and the brackets that close the frame.
    const AFTER: usize = 40;
    /// What stands before the text.
    const BEFORE: usize = 256;
    let begin = find(&frame[..frame.len().min(BEFORE)], BEGIN).map(|at| at + BEGIN.len());
    let tail = frame.len().saturating_sub(AFTER);
    let end = find(&frame[tail..], END).map(|at| tail + at);
    if let (Some(begin), Some(end)) = (begin, end)
        && begin <= end
    {
        return Ok(Cow::Borrowed(&frame[begin..end]));
    }
    match read_at_client(std::str::from_utf8(frame)?) {
        Ok((ToClient::Job(JobEvent::Output(output)), _)) => {
            let text = output.text.context("lines came as base64")?;
            Ok(Cow::Owned(text.replace('\n', "\\n").into_bytes()))
        }
        Ok(_) => anyhow::bail!("no chunk of output"),
        Err((_, error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_wherever_it_stands() {
        let usual = br#"{"type":"job","data":{"opt":"output","jobId":"job-1-00000001","at":"1-1","stream":"stdout","offset":0,"text":"a\nb\n","time":1}}"#;
        assert_eq!(&*text(usual).unwrap(), br"a\nb\n");
        let other = br#"{"type":"job","data":{"opt":"output","jobId":"job-1-00000001","at":"1-1","time":1,"text":"a\nb\n","stream":"stdout","offset":0}}"#;
        assert_eq!(&*text(other).unwrap(), br"a\nb\n");
    }
}
