//! What people see of a file in a list: a line as of `ls -l`, in the columns of OpenSSH's server.
//!
//! Programs have the attributes beside it and need not read this. Not here: names of owners, which may be others inside.

use cap_std::fs::{Metadata, MetadataExt};
use chrono::{DateTime, TimeDelta, TimeZone};

/// Files that changed before that are shown with the year in place of the time: half a year, as `ls` has it.
const RECENT: TimeDelta = TimeDelta::hours(365 * 24 / 2);

/// The line of one file; times are in the zone of `now`.
pub(super) fn long_name<Tz: TimeZone<Offset: std::fmt::Display>>(
    name: &str,
    of: &Metadata,
    now: &DateTime<Tz>,
) -> String {
    let (mode, links, owner, group, size) = (mode(of.mode()), of.nlink(), of.uid(), of.gid(), of.size());
    let changed = changed(of.mtime(), now);
    format!("{mode} {links:>3} {owner:<8} {group:<8} {size:>8} {changed} {name}")
}

fn changed<Tz: TimeZone<Offset: std::fmt::Display>>(seconds: i64, now: &DateTime<Tz>) -> String {
    // No calendar has a day for some of what can be set.
    let Some(at) = DateTime::from_timestamp(seconds, 0) else { return format!("{seconds:>12}") };
    let at = at.with_timezone(&now.timezone());
    let recent = at <= *now && now.clone() - at.clone() < RECENT;
    at.format(if recent { "%b %e %H:%M" } else { "%b %e  %Y" }).to_string()
}

/// Type and permissions, as inode(7) numbers them.
fn mode(mode: u32) -> String {
    let has = |bit: u32| mode & bit != 0;
    let mut words = String::from(match mode >> 12 {
        0o01 => 'p',
        0o02 => 'c',
        0o04 => 'd',
        0o06 => 'b',
        0o10 => '-',
        0o12 => 'l',
        0o14 => 's',
        _ => '?',
    });
    for (class, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        words.push(if has(0o4 << class) { 'r' } else { '-' });
        words.push(if has(0o2 << class) { 'w' } else { '-' });
        words.push(match (has(0o1 << class), has(special)) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    words
}

#[cfg(test)]
mod tests {
    use chrono::{FixedOffset, Utc};

    use super::*;

    #[test]
    fn modes_are_in_the_letters_of_ls() {
        for (bits, letters) in [
            (0o100_644, "-rw-r--r--"),
            (0o040_755, "drwxr-xr-x"),
            (0o120_777, "lrwxrwxrwx"),
            (0o010_600, "prw-------"),
            (0o140_755, "srwxr-xr-x"),
            (0o020_620, "crw--w----"),
            (0o060_660, "brw-rw----"),
            (0o104_755, "-rwsr-xr-x"),
            (0o102_644, "-rw-r-Sr--"),
            (0o041_777, "drwxrwxrwt"),
            (0o041_776, "drwxrwxrwT"),
            (0, "?---------"),
        ] {
            assert_eq!(mode(bits), letters);
        }
    }

    #[test]
    fn a_time_is_told_for_half_a_year_and_the_year_from_then_on() {
        let now = DateTime::parse_from_rfc3339("2026-11-21T03:14:00Z").unwrap();
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().timestamp();
        for (time, told) in [
            (at("2026-11-21T03:13:59Z"), "Nov 21 03:13"),
            (at("2026-11-01T00:00:00Z"), "Nov  1 00:00"),
            (at("2026-05-22T15:14:01Z"), "May 22 15:14"),
            (at("2026-05-22T15:14:00Z"), "May 22  2026"),
            (at("2026-11-21T03:14:01Z"), "Nov 21  2026"),
            (0, "Jan  1  1970"),
        ] {
            assert_eq!(changed(time, &now.with_timezone(&Utc)), told);
        }
        let east = now.with_timezone(&FixedOffset::east_opt(3600).unwrap());
        assert_eq!(changed(at("2026-11-20T23:30:00Z"), &east), "Nov 21 00:30");
        assert_eq!(changed(i64::MAX, &east), "9223372036854775807");
    }
}
