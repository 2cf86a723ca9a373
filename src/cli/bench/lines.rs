//! Lines of 80 bytes, each another one, so that a lost, doubled or swapped one shows.
//!
//! The job writes them, the follower knows what must come: every byte is compared.

use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};

use crate::config::{Size, Span};

/// Bytes of a line, its end included.
pub(super) const LINE: usize = 80;

/// Digits that a line begins with: its number, or the moment when it was written.
const DIGITS: usize = 20;

/// Lines in one write: about what a pipe holds.
const LINES_A_WRITE: usize = 65_536 / LINE;

/// What a program under measurement writes.
#[derive(Debug, clap::Args)]
pub(super) struct LinesArgs {
    /// Bytes to write, in lines of 80
    #[arg(long, default_value = "1GB")]
    bytes: Size,
    /// Wait this long before each line, and write the moment into it
    #[arg(long)]
    every: Option<Span>,
}

/// Writes lines to stdout.
pub(super) fn write(args: &LinesArgs) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let count = args.bytes.0 / LINE as u64;
    match args.every {
        None => write_all(&mut stdout, count),
        Some(Span(every)) => write_paced(&mut stdout, count, every),
    }
}

fn write_all(out: &mut impl Write, count: u64) -> io::Result<()> {
    let mut line = Line::default();
    let mut block = Vec::with_capacity(LINES_A_WRITE * LINE);
    for number in 0..count {
        block.extend_from_slice(&line.text);
        block.push(b'\n');
        line.next();
        if block.len() == LINES_A_WRITE * LINE || number + 1 == count {
            out.write_all(&block)?;
            block.clear();
        }
    }
    out.flush()
}

fn write_paced(out: &mut impl Write, count: u64, every: Duration) -> io::Result<()> {
    let mut due = Instant::now();
    for _ in 0..count {
        due += every;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        writeln!(out, "{:0DIGITS$}{:.<width$}", now().as_nanos(), "", width = LINE - 1 - DIGITS)?;
        out.flush()?;
    }
    Ok(())
}

/// The clock that the program and its reader share.
fn now() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// A line without its end: its number, and the same rest in every one.
struct Line {
    text: [u8; LINE - 1],
}

impl Default for Line {
    fn default() -> Self {
        let mut text = [b'.'; LINE - 1];
        text[..DIGITS].fill(b'0');
        Self { text }
    }
}

impl Line {
    /// Counts on, in decimal: that is cheaper than to write a number anew.
    fn next(&mut self) {
        for digit in self.text[..DIGITS].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
    }
}

/// Compares what comes with what was written, both as JSON strings hold it.
pub(super) struct Expected {
    line: Line,
    /// Bytes of the line that have come.
    at: usize,
    lines: u64,
}

/// The end of a line in a JSON string.
const ESCAPED_END: &[u8] = br"\n";

impl Expected {
    pub(super) fn new() -> Self {
        Self { line: Line::default(), at: 0, lines: 0 }
    }

    /// Takes the text of a chunk, escaped.
    pub(super) fn take(&mut self, mut text: &[u8]) -> Result<()> {
        while !text.is_empty() {
            let due = match self.at.checked_sub(LINE - 1) {
                None => &self.line.text[self.at..],
                Some(at) => &ESCAPED_END[at..],
            };
            let (come, rest) = text.split_at(due.len().min(text.len()));
            if due[..come.len()] != *come {
                bail!("line {} is not what was written: {:?}", self.lines, String::from_utf8_lossy(come));
            }
            text = rest;
            self.at += come.len();
            if self.at == LINE - 1 + ESCAPED_END.len() {
                self.at = 0;
                self.lines += 1;
                self.line.next();
            }
        }
        Ok(())
    }

    /// Nothing more comes: all of `bytes` must have.
    pub(super) fn finish(&self, bytes: u64) -> Result<()> {
        let count = bytes / LINE as u64;
        ensure!(
            self.lines == count && self.at == 0,
            "{} lines and {} bytes came of {count} lines",
            self.lines,
            self.at
        );
        Ok(())
    }
}

/// How long ago each line of a chunk was written. Lines are written one by one, and a chunk holds whole ones.
pub(super) fn ages(text: &[u8], ages: &mut Vec<Duration>) -> Result<()> {
    let now = now();
    for line in text.chunks(LINE - 1 + ESCAPED_END.len()) {
        let digits = line.get(..DIGITS).context("half a line")?;
        let written = Duration::from_nanos(std::str::from_utf8(digits)?.parse()?);
        ages.push(now.saturating_sub(written));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(count: u64) -> String {
        let mut out = Vec::new();
        write_all(&mut out, count).unwrap();
        assert_eq!(out.len() as u64, count * LINE as u64);
        String::from_utf8(out).unwrap().replace('\n', "\\n")
    }

    #[test]
    fn what_was_written_is_what_is_expected_wherever_it_is_cut() {
        let text = escaped(1_234);
        for size in [1, 7, 80, 81, 5_000] {
            let mut expected = Expected::new();
            text.as_bytes().chunks(size).for_each(|chunk| expected.take(chunk).unwrap());
            expected.finish(1_234 * LINE as u64).unwrap();
            expected.finish(1_235 * LINE as u64).unwrap_err();
        }
    }

    #[test]
    fn a_lost_a_doubled_and_a_damaged_line_show() {
        let text = escaped(30);
        let line = LINE + 1;
        for wrong in [
            [&text[..3 * line], &text[4 * line..]].concat(),
            [&text[..3 * line], &text[2 * line..]].concat(),
            text.replacen('.', ",", 1),
        ] {
            Expected::new().take(wrong.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn a_paced_line_knows_its_age() {
        let mut out = Vec::new();
        write_paced(&mut out, 2, Duration::from_micros(1)).unwrap();
        assert_eq!(out.len(), 2 * LINE);
        let text = String::from_utf8(out).unwrap().replace('\n', "\\n");
        let mut took = Vec::new();
        ages(text.as_bytes(), &mut took).unwrap();
        assert!(took.len() == 2 && took[0] >= took[1] && took[0] < Duration::from_secs(60));
    }
}
