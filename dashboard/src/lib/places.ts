// Which row of a terminal shows which place of a log.
//
// Rows change their numbers when the terminal lets go of old ones or is made wider; lines of the log do not. So places are
// noted by line, and a few markers of the terminal say which row a line is on. What a program wrote over itself by moving
// the cursor is not followed: there a place is only about right.
import type { IBuffer, IMarker } from "@xterm/xterm";
import { compareAnchors, type Anchor, type Piece } from "./lines.ts";

interface Place extends Anchor {
  /** Lines before it. */
  top: number;
  /** Whether it begins within a line. */
  isMid: boolean;
}

interface Mark {
  line: number;
  marker: IMarker;
}

/** Lines between two markers. Each marker costs a little with every line that the terminal lets go. */
const MARK_EVERY = 64;
/** Places that are kept before those out of reach are thrown away. */
const PLACES_MOST = 30_000;

export class Places {
  readonly #buffer: () => IBuffer;
  #places: Place[] = [];
  #marks: Mark[] = [];
  /** Lines that were noted. */
  #lines = 0;

  constructor(buffer: () => IBuffer) {
    this.#buffer = buffer;
  }

  /** How many lines were written up to now. */
  get lines(): number {
    return this.#lines;
  }

  clear(): void {
    for (const { marker } of this.#marks) marker.dispose();
    this.#places = [];
    this.#marks = [];
    this.#lines = 0;
  }

  /** A piece is written next, with so many line ends; `isMid`: behind the beginning of a line. */
  note(piece: Piece, lineEnds: number, isMid: boolean): void {
    const { at, line } = piece;
    const mid = isMid && this.#places.length > 0;
    // No line begins in it, so none is looked for in it.
    if (!mid || lineEnds > 0) this.#places.push({ at, line, top: this.#lines, isMid: mid });
    this.#lines += lineEnds;
    if (this.#places.length > PLACES_MOST) this.#prune();
  }

  /** Whether a marker is wanted where the cursor is, so many lines on. */
  wantsMark(line: number): boolean {
    const last = this.#marks.at(-1);
    return !last || line - last.line >= MARK_EVERY;
  }

  mark(line: number, marker: IMarker | undefined): void {
    if (!marker) return;
    const gone = this.#marks.findIndex((mark) => !mark.marker.isDisposed);
    if (gone > 0) this.#marks.splice(0, gone);
    this.#marks.push({ line, marker });
  }

  /** The place that begins in, or before and nearest to, a row. */
  anchorOf(row: number): Anchor | null {
    const line = this.#lineOf(row);
    const place = this.#places.findLast(({ top, isMid }) => top < line || (top === line && !isMid)) ?? this.#places[0];
    return place ? { at: place.at, line: Math.max(0, place.line + line - place.top) } : null;
  }

  /** The row where a place begins, if it is in the terminal. */
  rowOf(anchor: Anchor): number | null {
    const index = this.#places.findLastIndex((place) => compareAnchors(place, anchor) <= 0);
    const place = this.#places[index];
    if (!place) return null;
    const end = this.#places[index + 1]?.top ?? this.#lines;
    const line = place.at === anchor.at ? place.top + anchor.line - place.line : end;
    return this.#rowOfLine(Math.min(line, end));
  }

  #lineOf(row: number): number {
    const marks = this.#marks.filter(({ marker }) => !marker.isDisposed);
    const mark = marks.findLast(({ marker }) => marker.line <= row) ?? marks[0];
    if (!mark) return this.#begins(0, row);
    const at = mark.marker.line;
    return at <= row ? mark.line + this.#begins(at, row) : mark.line - this.#begins(row, at);
  }

  #rowOfLine(line: number): number | null {
    const marks = this.#marks.filter(({ marker }) => !marker.isDisposed);
    const mark = marks.findLast((mark) => mark.line <= line) ?? marks[0];
    const buffer = this.#buffer();
    let row = this.#beginOf(mark?.marker.line ?? 0);
    let left = line - (mark?.line ?? 0);
    for (; left > 0; left--) {
      do row++;
      while (row < buffer.length && buffer.getLine(row)?.isWrapped);
      if (row >= buffer.length) return buffer.length - 1;
    }
    for (; left < 0; left++) {
      if (row === 0) return null;
      row = this.#beginOf(row - 1);
    }
    return row;
  }

  /** The row where the line begins that this row is of. */
  #beginOf(row: number): number {
    const buffer = this.#buffer();
    while (row > 0 && buffer.getLine(row)?.isWrapped) row--;
    return row;
  }

  /** How many lines begin behind one row, up to another. */
  #begins(from: number, to: number): number {
    const buffer = this.#buffer();
    let lines = 0;
    for (let row = from + 1; row <= to; row++) if (!buffer.getLine(row)?.isWrapped) lines++;
    return lines;
  }

  #prune(): void {
    const line = this.#lineOf(0);
    const first = this.#places.findLastIndex(({ top, isMid }) => top < line || (top === line && !isMid));
    if (first > 0) this.#places.splice(0, first);
  }
}
