// A line of output as somebody reads it: without what only steers the terminal, and with what was written over gone.
//
// Guards: takes a fraction of a second, whatever a program wrote. Not here: lines that are reached by moving the
// cursor up or down, which are no longer the line that was written.

/** What steers a terminal (ECMA-48): CSI sequences, strings such as OSC with their end, other escapes, and what is alone. */
const CONTROL =
  // eslint-disable-next-line no-control-regex
  /(?:\x1b\[|\x9b)([0-?]*)[ -/]*([@-~])|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x18\x1a\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|\x1b[ -/]*[0-~]?|[\0-\x08\n-\x1f\x7f-\x9f]/g;

/** Whether there is any of it. */
// eslint-disable-next-line no-control-regex
const IS_CONTROL = /[\0-\x08\n-\x1f\x7f-\x9f]/;

/** Whether something may have been written over or erased. */
// eslint-disable-next-line no-control-regex
const OVERWRITES = /[\r\x08]|(?:\x1b\[|\x9b)\d*[GK]/;

/** A terminal's rows end somewhere; a column that is asked for beyond is not gone to. */
const COLUMNS_MOST = 1000;
/** Of longer lines nothing is taken for overwritten: each erasure costs as much as the line is long. */
const OVERWRITTEN_MOST = 64 * 1024;

/** What is seen of a line once it is written. */
export function seenOf(line: string): string {
  if (!IS_CONTROL.test(line)) return line;
  return line.length <= OVERWRITTEN_MOST && OVERWRITES.test(line) ? overwritten(line) : line.replace(CONTROL, "");
}

function overwritten(line: string): string {
  const cells: string[] = [];
  let column = 0;
  const put = (text: string) => {
    if (text === "") return;
    while (cells.length < column) cells.push(" ");
    for (const char of text) cells[column++] = char;
  };
  let from = 0;
  for (const match of line.matchAll(CONTROL)) {
    const [control, parameters, final] = match;
    put(line.slice(from, match.index));
    from = match.index + control.length;
    if (control === "\r") column = 0;
    else if (control === "\b") column = Math.max(0, column - 1);
    else if (final === "G") column = Math.min(Math.max(1, Number(parameters) || 1) - 1, COLUMNS_MOST);
    else if (final === "K" && parameters === "2") cells.length = 0;
    else if (final === "K" && parameters === "1") cells.fill(" ", 0, column + 1);
    else if (final === "K") cells.length = Math.min(cells.length, column);
  }
  put(line.slice(from));
  return cells.join("");
}
