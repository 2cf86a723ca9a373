// A log as lines: pieces small enough for a terminal, places that can be named, and what is looked for.
import { attemptOf, compare, type Entry } from "./log.ts";
import { seenOf } from "./plain.ts";
import { clockTime } from "./time.svelte.ts";
import { reasonInWords } from "./timeline.ts";

/** A place in a log: an entry, and how many lines further on in it. */
export interface Anchor {
  at: string;
  line: number;
}

/** `1-42.3`: three lines after the beginning of entry 1-42. */
export function parseAnchor(text: string | null): Anchor | null {
  const match = /^(\d{1,9}-\d{1,15})(?:\.(\d{1,7}))?$/.exec(text ?? "");
  return match?.[1] ? { at: match[1], line: Number(match[2] ?? 0) } : null;
}

export function formatAnchor({ at, line }: Anchor): string {
  return line > 0 ? `${at}.${line}` : at;
}

/** The order of two places. */
export function compareAnchors(a: Anchor, b: Anchor): number {
  return compare(a.at, b.at) || a.line - b.line;
}

/** A part of an entry, with at most so many lines that the place of each can be told. */
export interface Piece extends Anchor {
  text: string;
  lines: number;
  time: number;
  /** A line of ours, and not of the program. */
  isRule: boolean;
}

/** Lines of a piece at the most. */
const PIECE_LINES = 256;

/** An entry as it is shown. `isContainer`: several starts follow each other in its log, and each is told apart. */
export function piecesOf(entry: Entry, isContainer: boolean): Piece[] {
  const { at, time } = entry;
  if (entry.kind !== "output") {
    const words = ruleOf(entry, isContainer);
    return words === null ? [] : [{ at, line: 0, text: words, lines: 1, time, isRule: true }];
  }
  const pieces: Piece[] = [];
  const { text } = entry;
  let from = 0;
  let line = 0;
  while (from < text.length) {
    let to = from;
    let lines = 0;
    while (lines < PIECE_LINES && to < text.length) {
      const end = text.indexOf("\n", to);
      if (end < 0) to = text.length;
      else {
        to = end + 1;
        lines++;
      }
    }
    pieces.push({ at, line, text: text.slice(from, to), lines, time, isRule: false });
    from = to;
    line += lines;
  }
  return pieces;
}

function ruleOf(entry: Exclude<Entry, { kind: "output" }>, isContainer: boolean): string | null {
  switch (entry.kind) {
    case "began":
      if (attemptOf(entry.at) <= 1) return null;
      return isContainer ? `start ${entry.attempt}` : `attempt ${entry.attempt} on ${entry.workerId ?? "a worker"}`;
    case "requeued":
      return entry.reason ? `back in the queue: ${reasonInWords(entry.reason, null)}` : "back in the queue";
    case "gone":
      return `${entry.from} to ${entry.at} are no longer kept`;
    case "ended":
      if (!isContainer) return null;
      return `ended: ${entry.exitCode === null ? reasonInWords(entry.reason, null) : `exit code ${entry.exitCode}`}`;
  }
}

/** Turns pieces into what is written to a terminal, and keeps whether it is at the beginning of a line. */
export class Writer {
  isLineStart = true;
  readonly #stamps: boolean;

  constructor(stamps: boolean) {
    this.#stamps = stamps;
  }

  write({ text, time, isRule }: Piece): string {
    const begins = this.isLineStart;
    if (isRule) {
      this.isLineStart = true;
      return `${begins ? "" : "\r\n"}\x1b[0;3;90m── ${text} ──\x1b[0m\r\n`;
    }
    this.isLineStart = text.endsWith("\n");
    if (!this.#stamps) return text;
    const stamp = `\x1b[3m${clockTime(time)}\x1b[23m `;
    return (begins ? stamp : "") + text.replace(/\n(?=[^])/g, `\n${stamp}`);
  }
}

/** About how many rows pieces take on a terminal of so many columns: rather too many than too few. */
export function rowsOf(pieces: readonly Piece[], columns: number): number {
  return pieces.reduce((rows, { text, lines }) => rows + lines + 1 + Math.ceil(text.length / columns), 0);
}

/** What looks like the line where things went wrong, and not like the count of a summary that went well. */
export function looksLikeError(line: string): boolean {
  return (
    /\b(errors?|fatal|panic(ked)?|exception|traceback|segmentation fault|failed|failure)\b/i.test(line) &&
    !/\b(0|no) (errors?|failed|failures?)\b/i.test(line)
  );
}

interface Open extends Anchor {
  text: string;
}

/** Longer lines are looked at in parts. */
const LINE_MOST = 64 * 1024;

/** Looks for lines that match, as they are seen. A line may reach over several entries; its place is where it begins. */
export class Finder {
  readonly #matches: (written: string) => boolean;
  #open: Open | null = null;

  constructor(matches: (line: string) => boolean) {
    this.#matches = (written) => matches(seenOf(written));
  }

  /** The first line that ends in these entries; they go on where those of the call before ended. */
  first(entries: readonly Entry[]): Anchor | null {
    for (const found of this.#lines(entries)) return found;
    return null;
  }

  /** The line that has not ended. */
  rest(): Anchor | null {
    const open = this.#open;
    this.#open = null;
    return open && this.#matches(open.text) ? { at: open.at, line: open.line } : null;
  }

  /** The last line that begins in these entries, and before a place. */
  last(entries: readonly Entry[], below: Anchor): Anchor | null {
    let last: Anchor | null = null;
    const isBelow = (found: Anchor | null) => found !== null && compareAnchors(found, below) < 0;
    for (const found of this.#lines(entries)) if (isBelow(found)) last = found;
    const rest = this.rest();
    return isBelow(rest) ? rest : last;
  }

  *#lines(entries: readonly Entry[]): Generator<Anchor> {
    for (const entry of entries) {
      if (entry.kind !== "output") continue;
      const { text, at } = entry;
      for (let from = 0, line = 0; from < text.length; line++) {
        const end = text.indexOf("\n", from);
        const open: Open = this.#open ?? { text: "", at, line };
        open.text += text.slice(from, end < 0 ? text.length : end);
        const isWhole = end >= 0 || open.text.length > LINE_MOST;
        this.#open = isWhole ? null : open;
        if (isWhole && this.#matches(open.text)) yield { at: open.at, line: open.line };
        from = end < 0 ? text.length : end + 1;
      }
    }
  }
}

/** The entries in which the first line ends: what a line that begins before them needs to be whole. */
export function headOf(entries: readonly Entry[]): readonly Entry[] {
  const end = entries.findIndex((entry) => entry.kind === "output" && entry.text.includes("\n"));
  return end < 0 ? entries : entries.slice(0, end + 1);
}
