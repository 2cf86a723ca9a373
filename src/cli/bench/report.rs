//! What was measured, as a table for people or a JSON object a line for programs.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::target::Meter;

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Figure {
    /// Which benchmark.
    bench: &'static str,
    /// Under which circumstances.
    case: String,
    /// What it is.
    figure: &'static str,
    value: f64,
    unit: &'static str,
}

/// The figures of a run, shown as they come.
pub(super) struct Report {
    bench: &'static str,
    json: bool,
    headed: bool,
}

impl Report {
    pub(super) fn new(bench: &'static str, json: bool) -> Self {
        Self { bench, json, headed: false }
    }

    /// Shows a figure.
    pub(super) fn add(&mut self, case: &str, figure: &'static str, value: f64, unit: &'static str) -> io::Result<()> {
        let figure = Figure { bench: self.bench, case: case.to_owned(), figure, value, unit };
        let mut stdout = io::stdout().lock();
        if self.json {
            return writeln!(stdout, "{}", serde_json::to_string(&figure)?);
        }
        if !self.headed {
            self.headed = true;
            writeln!(stdout, "{:<9} {:<34} {:<26} {:>12}", "BENCH", "CASE", "FIGURE", "VALUE")?;
        }
        let Figure { bench, case, figure, value, unit } = figure;
        writeln!(stdout, "{bench:<9} {case:<34} {figure:<26} {:>12} {unit}", rounded(value))
    }

    /// Shows what a run has used of the processors.
    pub(super) fn used(&mut self, case: &str, meter: &Meter) -> Result<()> {
        for (name, percent) in meter.used()? {
            self.add(case, name, percent, "%")?;
        }
        Ok(())
    }

    /// Shows how long things took: the middle and the slow end.
    pub(super) fn latencies(&mut self, case: &str, mut took: Vec<Duration>) -> io::Result<()> {
        took.sort_unstable();
        self.add(case, "p50", micros(percentile(&took, 50)), "µs")?;
        self.add(case, "p99", micros(percentile(&took, 99)), "µs")
    }
}

/// How many a second.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2⁵²")]
pub(super) fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The value that `percent` of a sorted list do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// As many digits as mean something, in groups of three.
fn rounded(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_occurred() {
        let list: Vec<Duration> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!(percentile(&list, 50), Duration::from_micros(100));
        assert_eq!(percentile(&list, 99), Duration::from_micros(198));
        assert_eq!(percentile(&list[..1], 99), Duration::from_micros(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!([rounded(1_234_567.8), rounded(999.5), rounded(12.34)], ["1,234,568", "1,000", "12.3"]);
    }
}
