//! The keys that leave a container's terminal and let it run on: Ctrl-P, then Ctrl-Q, as Docker has them.

const CTRL_P: u8 = 0x10;
const CTRL_Q: u8 = 0x11;

/// Looks for the keys in what is typed.
#[derive(Debug, Default)]
pub(super) struct DetachKeys {
    /// A Ctrl-P was typed: it is sent once the next key says that it meant no more.
    held: bool,
}

impl DetachKeys {
    /// What of `typed` goes to the container, and whether the keys to leave were in it. What stands after them goes nowhere.
    pub(super) fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len() + 1);
        for &key in typed {
            match (self.held, key) {
                (true, CTRL_Q) => return (passed, true),
                // Of two, the second may be the one that is meant.
                (true, CTRL_P) => passed.push(CTRL_P),
                (false, CTRL_P) => self.held = true,
                (true, key) => {
                    self.held = false;
                    passed.extend([CTRL_P, key]);
                }
                (false, key) => passed.push(key),
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys = DetachKeys::default();
        let mut all = Vec::new();
        for piece in pieces {
            let (passed, leaves) = keys.pass(piece);
            all.extend(passed);
            if leaves {
                return (all, true);
            }
        }
        (all, false)
    }

    #[test]
    fn the_keys_leave_however_they_are_cut() {
        assert_eq!(typed(&[b"ls\r\x10\x11rest"]), (b"ls\r".to_vec(), true));
        assert_eq!(typed(&[b"ls\r\x10", b"\x11"]), (b"ls\r".to_vec(), true));
        assert_eq!(typed(&[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
    }

    #[test]
    fn one_of_them_alone_is_a_key_like_any_other() {
        assert_eq!(typed(&[b"\x11a\x10", b"b"]), (b"\x11a\x10b".to_vec(), false));
        assert_eq!(typed(&[b"\x10a\x11"]), (b"\x10a\x11".to_vec(), false));
    }
}
