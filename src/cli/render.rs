//! Tables, ages, sizes and colours.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};
use serde::Serialize;

use super::exit::Status as Exit;
use super::failure::Failure;
use crate::base::clock::{Clock, Millis};
use crate::protocol::job::{JobRecord, Reason, Status};

/// Whether stdout may have colours.
pub(super) fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes a line to stdout.
pub(super) fn line(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Writes bytes to stdout as they are.
pub(super) fn raw(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Writes one JSON object on a line of its own.
pub(super) fn json(value: &impl Serialize) -> io::Result<()> {
    line(&serde_json::to_string(value)?)
}

/// Writes each as a JSON object on a line of its own.
pub(super) fn json_lines(values: &[impl Serialize]) -> Result<Exit, Failure> {
    for value in values {
        json(value)?;
    }
    Ok(Exit::Success)
}

/// Confirms what was done by naming it: `ada`, or `{"account":"ada"}`.
pub(super) fn done(as_json: bool, what: &str, name: &str) -> io::Result<()> {
    if as_json { json(&serde_json::json!({ what: name })) } else { line(name) }
}

/// Says something about the work on stderr, on a line of its own under a raw terminal, too; as
/// JSON it is `{"note":{"message":"…"}}`. Where stderr is closed there is nobody to tell.
pub(super) fn say(as_json: bool, text: &str) {
    let words = if as_json {
        serde_json::json!({ "note": { "message": text } }).to_string()
    } else {
        format!("gangline: {text}")
    };
    let mut stderr = io::stderr().lock();
    let raw = stderr.is_terminal() && crossterm::terminal::is_raw_mode_enabled().unwrap_or(false);
    let end = if raw { "\r\n" } else { "\n" };
    let _ = write!(stderr, "{words}{end}");
}

/// Writes lines to stderr; where it is closed there is nobody to tell.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A table without lines: its headings, then a row for each thing.
pub(super) fn table(headings: &[&str], rows: Vec<Vec<Cell>>) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if colours() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(headings.iter().map(|heading| Cell::new(heading).add_attribute(Attribute::Bold)));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// The time since `then`, coarsely: `12s`, `5m`, `3h`, `2d`.
pub(super) fn age(now: Millis, then: Millis) -> String {
    let secs = now.saturating_sub(then) / 1000;
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{}m", secs / 60),
        3600..86_400 => format!("{}h", secs / 3600),
        _ => format!("{}d", secs / 86_400),
    }
}

/// How long something took: `0.42s`, `12.3s`, `5m07s`, `3h05m`.
pub(super) fn took(ms: Millis) -> String {
    match ms {
        0..10_000 => format!("{}.{:02}s", ms / 1000, ms % 1000 / 10),
        10_000..60_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{}m{:02}s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{}h{:02}m", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// A size, coarsely: `512 B`, `1.5 KiB`, `12 MiB`.
pub(super) fn size(bytes: u64) -> String {
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_240 && unit < 5 {
        tenths /= 1024;
        unit += 1;
    }
    let name = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit];
    if unit == 0 || tenths >= 100 {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// A moment as `2026-01-31 12:34:56` in UTC.
pub(super) fn moment(at: Millis) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(at);
    humantime::format_rfc3339_seconds(time).to_string().replace('T', " ").trim_end_matches('Z').to_owned()
}

/// `text` on one line, of at most `most` characters. Control characters of a job's own words
/// must not reach the terminal.
pub(super) fn shorten(text: &str, most: usize) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most + 1).collect();
    if line.chars().count() > most {
        line = line.chars().take(most.saturating_sub(1)).collect();
        line.push('…');
    }
    line
}

/// The word for where a job stands, with what is worth knowing beside it.
pub(super) fn standing(job: &JobRecord) -> Cell {
    let colour = match job.status {
        Status::Pending => Color::Yellow,
        Status::Running => Color::Cyan,
        Status::Completed => Color::Green,
        Status::Failed => Color::Red,
        Status::Cancelled => Color::DarkGrey,
    };
    Cell::new(standing_words(job)).fg(colour)
}

fn standing_words(job: &JobRecord) -> String {
    let status = word(&job.status);
    match (job.status, job.reason, job.exit_code) {
        (Status::Failed, Some(Reason::Exit | Reason::Signal), Some(code)) => format!("{status} ({code})"),
        (Status::Failed, Some(reason), _) => format!("{status} ({})", word(&reason).replace('_', " ")),
        (Status::Pending | Status::Running | Status::Completed | Status::Failed | Status::Cancelled, _, _) => status,
    }
}

/// A value of an enum as the wire spells it.
pub(super) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// What a job runs, on one line.
pub(super) fn command(job: &JobRecord) -> String {
    match (&job.command, &job.args, &job.image) {
        (Some(script), _, _) => script.trim().to_owned(),
        (None, Some(args), _) => args.join(" "),
        (None, None, Some(image)) => image.clone(),
        (None, None, None) => String::new(),
    }
}

/// How long a job has been running, or ran.
pub(super) fn run_time(job: &JobRecord) -> String {
    let Some(started) = job.started_at else { return String::new() };
    let end = job.completed_at.unwrap_or_else(|| Clock::default().now());
    took(end.saturating_sub(started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        assert_eq!([age(90_000, 0), age(59_999, 0), age(0, 5), age(200_000_000, 0)], ["1m", "59s", "0s", "2d"]);
        let times = [took(420), took(12_345), took(307_000), took(11_100_000)];
        assert_eq!(times, ["0.42s", "12.3s", "5m07s", "3h05m"]);
        let sizes = [size(0), size(1023), size(1536), size(12 << 20), size(u64::MAX)];
        assert_eq!(sizes, ["0 B", "1023 B", "1.5 KiB", "12 MiB", "16383 PiB"]);
        assert_eq!(moment(0), "1970-01-01 00:00:00");
    }

    #[test]
    fn a_jobs_words_cannot_steer_the_terminal() {
        assert_eq!(shorten("a\u{1b}[2Jb\nc", 80), "a [2Jb c");
        assert_eq!(shorten("äöüß", 3), "äö…");
        assert_eq!(shorten("äöü", 3), "äöü");
    }

    #[test]
    fn a_table_without_a_terminal_is_plain_text() {
        let rows =
            vec![vec![Cell::new("1").fg(Color::Red), Cell::new("long value")], vec![Cell::new("22"), Cell::new("")]];
        assert_eq!(table(&["ID", "NAME"], rows), "ID  NAME\n1   long value\n22");
    }
}
