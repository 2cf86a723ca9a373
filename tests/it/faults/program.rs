//! Programs whose output can be computed again from a seed, byte for byte.
//!
//! As a shell script they need nothing but a shell; as a list of pieces they are what a scripted
//! worker reports.

use std::fmt::Write;

use super::history::Stream;

/// A program that prints lines of all kinds on both streams, and rests now and then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    pub(crate) seed: u32,
    /// Bursts of output at the most, with a rest after each.
    pub(crate) bursts: u32,
    /// Lines in a burst.
    pub(crate) lines: u32,
    /// Milliseconds of rest.
    pub(crate) rest_ms: u32,
}

/// The multiplier and modulus of Park and Miller: a shell's 64-bit integers hold the product.
const FACTOR: u64 = 16_807;
const MODULUS: u64 = 2_147_483_647;

impl Program {
    /// What it writes, one write a piece.
    pub(crate) fn pieces(self) -> Vec<(Stream, Vec<u8>)> {
        self.writes().collect()
    }

    /// The same, computed as it is asked for.
    pub(crate) fn writes(self) -> impl Iterator<Item = (Stream, Vec<u8>)> {
        let mut x = self.first();
        (0..self.bursts * self.lines).map(move |_| {
            x = x * FACTOR % MODULUS;
            let width = usize::try_from(x % 97 + 1).expect("below 98");
            let mut line = String::new();
            let _ = write!(line, "{x:0width$}");
            let mut bytes = line.into_bytes();
            let stream = match x % 5 {
                0 => {
                    bytes.push(b'\n');
                    Stream::Stderr
                }
                1 => {
                    bytes.extend(b"\xff\r\n");
                    Stream::Stdout
                }
                2 => {
                    bytes.extend("é\u{1b}[0m\n".as_bytes());
                    Stream::Stdout
                }
                _ => {
                    bytes.push(b'\n');
                    Stream::Stdout
                }
            };
            (stream, bytes)
        })
    }

    /// All it writes to one stream.
    fn written(self, stream: Stream) -> Vec<u8> {
        self.pieces().into_iter().filter(|(of, _)| *of == stream).flat_map(|(_, bytes)| bytes).collect()
    }

    /// The same for `/bin/sh`. Each execution adds a line to the file that `$EXECUTIONS` names when it
    /// begins, and one with the number of bursts when it is done: sooner than planned once there is a
    /// file `$STOP`.
    pub(crate) fn script(self) -> String {
        let Self { bursts, lines, rest_ms, .. } = self;
        let (x, rest) = (self.first(), f64::from(rest_ms) / 1000.0);
        format!(
            r#"echo "begin $GANGLINE_ATTEMPT" >> "$EXECUTIONS"
x={x} i=0
while [ $i -lt {bursts} ] && [ ! -e "$STOP" ]; do
  i=$((i + 1)) k=0
  while [ $k -lt {lines} ]; do
    k=$((k + 1)) x=$((x * {FACTOR} % {MODULUS}))
    w=$((x % 97 + 1))
    case $((x % 5)) in
    0) printf "%0${{w}}d\n" $x >&2 ;;
    1) printf "%0${{w}}d\377\r\n" $x ;;
    2) printf "%0${{w}}d\303\251\033[0m\n" $x ;;
    *) printf "%0${{w}}d\n" $x ;;
    esac
  done
  sleep {rest}
done
echo "done $GANGLINE_ATTEMPT $i" >> "$EXECUTIONS"
"#
        )
    }

    /// Where the sequence begins; never 0, where it would stay.
    fn first(self) -> u64 {
        u64::from(self.seed) % (MODULUS - 1) + 1
    }
}

#[test]
fn the_script_writes_what_is_computed() {
    let program = Program { seed: 7, bursts: 3, lines: 40, rest_ms: 0 };
    let dir = tempfile::tempdir().unwrap();
    let executions = dir.path().join("executions");
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", &program.script()])
        .env("GANGLINE_ATTEMPT", "1")
        .env("EXECUTIONS", &executions)
        .output()
        .unwrap();
    assert_eq!(output.stdout, program.written(Stream::Stdout));
    assert_eq!(output.stderr, program.written(Stream::Stderr));
    assert!(!output.stderr.is_empty() && output.stdout.contains(&0xff));
    assert_eq!(std::fs::read_to_string(executions).unwrap(), "begin 1\ndone 1 3\n");
}
