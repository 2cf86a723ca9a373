//! What the kernel says of memory that ran out in containers of this machine.
//!
//! Guards: the cause is known even where the engine never learns it. An engine asks the kernel to be told only when a
//! container's program runs already, so one that is killed in its first milliseconds is nothing but killed to it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::libc::O_NONBLOCK;

/// Each read of it gives one record.
const PATH: &str = "/dev/kmsg";

/// More than any record has (`PRINTKRB_RECORD_MAX` and its prefix in the kernel), in bytes.
const RECORD: usize = 16 << 10;

/// More records than the kernel keeps, so that one that writes all the time does not keep its reader.
const MOST_RECORDS: usize = 1_000_000;

/// The kernel's log from one moment on.
#[derive(Debug)]
pub(super) struct KernelLog(File);

impl KernelLog {
    /// From now on. None where it may not be read: in a container, or by others than root.
    pub(super) fn from_now() -> Option<Self> {
        let mut log = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(PATH).ok()?;
        log.seek(SeekFrom::End(0)).ok()?;
        Some(Self(log))
    }

    /// Whether it has since said that something in the container `id` was killed at the container's own limit. Of many
    /// such deaths within five seconds, the kernel tells ten.
    pub(super) fn tells_of(&mut self, id: &str) -> bool {
        let mut record = vec![0; RECORD];
        let mut death = String::new();
        for _ in 0..MOST_RECORDS {
            match self.0.read(&mut record) {
                Ok(0) => return false,
                Ok(length) => {
                    hear(&mut death, &String::from_utf8_lossy(&record[..length]));
                    if is_about(&death, id) {
                        return true;
                    }
                }
                // The oldest ones were written over. The next read goes on after them.
                Err(error) if error.raw_os_error() == Some(Errno::EPIPE as i32) => (),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(_) => return false,
            }
        }
        false
    }
}

/// Goes on in `death`, the last line about one, with the next record: a line comes in pieces where another processor has
/// something to say meanwhile. Those after the first are marked by a `c`.
fn hear(death: &mut String, record: &str) {
    let (prefix, text) = record.split_once(';').unwrap_or_default();
    let text = text.lines().next().unwrap_or_default();
    if text.contains("oom-kill:") {
        text.clone_into(death);
    } else if prefix.split(',').nth(3) == Some("c") && !death.is_empty() && death.len() < RECORD {
        death.push_str(text);
    }
}

fn is_about(death: &str, id: &str) -> bool {
    let Some((_, death)) = death.split_once("oom-kill:") else { return false };
    let mut fields = death.split(',').filter_map(|field| field.split_once('='));
    fields.any(|(name, group)| name == "oom_memcg" && group.contains(id))
}

#[cfg(test)]
mod tests {
    use super::{hear, is_about};

    #[test]
    fn only_the_containers_own_limit_counts() {
        let death = |limit: &str| {
            format!(
                "6,1550,56288566498,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=40fe,mems_allowed=0,\
                 {limit},task_memcg=/docker/40fe,task=dd,pid=5973,uid=0\n"
            )
        };
        assert!(is_about(&death("oom_memcg=/docker/40fe"), "40fe"));
        assert!(is_about(&death("oom_memcg=/system.slice/docker-40fe.scope"), "40fe"));
        assert!(!is_about(&death("oom_memcg=/docker"), "40fe"), "the limit of all containers together");
        assert!(!is_about(&death("global_oom"), "40fe"), "the machine's own end of memory");
        assert!(!is_about("4,1503,5,-;Memory cgroup stats for /docker/40fe:\n", "40fe"));
    }

    #[test]
    fn a_death_may_be_told_in_pieces() {
        let mut death = String::new();
        hear(&mut death, "6,1549,1,c;,oom_memcg=/docker/40fe\n");
        assert_eq!(death, "", "of what was before");
        for (record, is_known) in [
            ("6,1550,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)\n", false),
            ("6,1551,2,-;docker0: port 1(veth) entered disabled state\n SUBSYSTEM=net\n", false),
            ("6,1552,2,c;,cpuset=40fe,mems_allowed=0\n", false),
            ("6,1553,2,c,caller=T7;,oom_memcg=/docker/40fe,task_memcg=/docker/40fe\n", true),
        ] {
            hear(&mut death, record);
            assert_eq!(is_about(&death, "40fe"), is_known, "{record}");
        }
        hear(&mut death, "6,1554,3,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null)\n");
        assert!(!is_about(&death, "40fe"), "another");
    }
}
