// A log on a terminal: a window of it that slides, at its end or anywhere else.
//
// Guards: what the terminal shows is contiguous and as the program wrote it; memory does not grow with the log; the page
// stays responsive however fast the program writes, because only so much is handed to the terminal at a time.
// The terminal itself is the window. Output that comes faster than it can be drawn is left out at the front, as if
// scrolled past; scrolling up reads it from the dispatcher again.
import type { IDisposable, Terminal } from "@xterm/xterm";
import { compareAnchors, piecesOf, rowsOf, Writer, type Anchor, type Piece } from "./lines.ts";
import type { Refusal } from "./link.svelte.ts";
import { START, type Entry, type Log } from "./log.ts";
import { Places } from "./places.ts";
import { Reader, type Window } from "./reader.ts";
import { still } from "./still.ts";

/** Rows that can be scrolled back without asking the dispatcher. */
export const SCROLLBACK = 10_000;
/** Rows that are read above a place: what is below must fit into the terminal, too. */
const ROWS_ABOVE = 6_000;
/** Rows from the first one on where older ones are read before one comes to them. */
const ROWS_EARLY = 200;
/** Rows below what is seen that are drawn before one scrolls to them. */
const ROWS_AHEAD = 400;
/** Characters that may be on their way into the terminal: what it takes about one frame to draw. */
const IN_FLIGHT = 128 * 1024;
/** What is written at a time, in characters and in lines. */
const BATCH = 32 * 1024;
const BATCH_LINES = 512;
/** Characters that may wait to be drawn; beyond, some are left out, */
const QUEUE_MOST = 2 * 1024 * 1024;
/** down to so many. */
const QUEUE_LEFT = 256 * 1024;
/** Empties the terminal. */
const RESET = "\x1bc";

/** A place that is shown so many rows below the top. */
interface Target {
  anchor: Anchor;
  above: number;
}

export class Screen {
  /** Whether the end of the log is on the screen and new output is drawn as it comes. */
  following = $state(true);
  /** Held by the pause button. */
  paused = $state(false);
  /** Characters that came while the end was not followed. */
  behind = $state(0);
  loading = $state(true);
  failed = $state.raw<Refusal | null>(null);
  /** Whether the beginning of the log is here. */
  atStart = $state(false);
  /** Whether the first row of the window is seen. */
  atTop = $state(false);

  readonly #log: Log;
  readonly #reader: Reader;
  readonly #isContainer: boolean;
  readonly #term: Terminal;
  readonly #places: Places;
  readonly #scroll: IDisposable;
  #stamps: boolean;
  #writer: Writer;
  #unfollow: (() => void) | null = null;
  #queue: Piece[] = [];
  #queued = 0;
  #inFlight = 0;
  #isLooking = false;
  /** The last entry that was handed to the queue. */
  #last = START;
  /** Whether older output may be read because one scrolled: not before the window is drawn. */
  #isSettled = false;
  #settledAt = 0;
  /** Rows that somebody scrolled by while the window was drawn. */
  #moved = 0;
  /** What is made while nobody is to see how, and what shows it then. */
  #making: Promise<void> | null = null;
  #uncover: (() => void) | null = null;
  /** Counts the windows: what was begun for an earlier one is void. */
  #window = 0;
  /** Counts where somebody turned to: the latest counts. */
  #turn = 0;
  #again: (() => Promise<void>) | null = null;

  constructor(term: Terminal, log: Log, options: { isContainer: boolean; stamps: boolean }) {
    this.#term = term;
    this.#log = log;
    this.#reader = new Reader(log, options.isContainer);
    this.#isContainer = options.isContainer;
    this.#stamps = options.stamps;
    this.#writer = new Writer(options.stamps);
    this.#places = new Places(() => term.buffer.normal);
    this.#scroll = term.onScroll(() => this.#soon());
  }

  /** Whether what goes into the terminal is what was there before, and not what comes now. */
  get isRedrawing(): boolean {
    return !this.#isSettled;
  }

  dispose(): void {
    this.#turn++;
    this.#window++;
    this.#detach();
    this.#scroll.dispose();
  }

  /** Shows the end of the log and follows it. */
  async toEnd(): Promise<void> {
    await this.#turnTo(
      () => this.#reader.back("end", 2 * this.#term.rows, SCROLLBACK, this.#term.cols),
      (window) => this.#show(window, null),
    );
  }

  /** Shows the beginning. */
  async toStart(): Promise<void> {
    await this.#turnTo(
      () => this.#reader.on(START, 2 * this.#term.rows, this.#term.cols),
      (window) => this.#show({ ...window, isFirst: true }, { anchor: { at: START, line: 0 }, above: 0 }),
    );
  }

  /** Shows a place, a third below the top. */
  async goTo(anchor: Anchor): Promise<void> {
    await this.#around(anchor, Math.floor(this.#term.rows / 3));
  }

  /** Shows what lies before the first line that is here, and stays where it is. */
  async older(): Promise<void> {
    const first = this.anchorOf(0);
    if (!first || this.atStart) return;
    const { cols, rows } = this.#term;
    const window = this.#window;
    await this.#turnTo(
      () => this.#reader.around(first, ROWS_ABOVE, ROWS_EARLY + 3 * rows, cols),
      async (found) => {
        // Where one has scrolled to meanwhile.
        const { viewportY } = this.#term.buffer.normal;
        const anchor = this.anchorOf(viewportY);
        if (anchor && window === this.#window && viewportY < ROWS_EARLY) await this.#show(found, { anchor, above: 0 });
      },
    );
  }

  /** Scrolls by so many rows: down, or up when there are less than none. */
  scroll(rows: number): void {
    if (this.#isSettled) this.#term.scrollLines(rows);
    else this.#moved += rows;
  }

  /** Tries again what failed. */
  async retry(): Promise<void> {
    if (this.failed) await this.#again?.();
  }

  /** Holds still, or goes on with what is written now. */
  async pause(paused: boolean): Promise<void> {
    this.paused = paused;
    if (paused) {
      this.following = false;
    } else if (this.#unfollow && this.#queued < QUEUE_LEFT) {
      this.#follow();
      this.#term.scrollToBottom();
    } else {
      await this.toEnd();
    }
  }

  /** Shows the time before each line, or not. */
  async stamp(stamps: boolean): Promise<void> {
    if (stamps === this.#stamps) return;
    this.#stamps = stamps;
    const anchor = this.anchorOf(this.#term.buffer.normal.viewportY);
    if (this.following || !anchor) return this.toEnd();
    const { paused } = this;
    await this.#around(anchor, 0);
    this.paused = paused;
  }

  /** The place of a row of the terminal's buffer. */
  anchorOf(row: number): Anchor | null {
    return this.#places.anchorOf(row);
  }

  /** The row where a place is, if it is in the terminal. */
  rowOf(anchor: Anchor): number | null {
    return this.#places.rowOf(anchor);
  }

  /** The first line of the log that matches. */
  findFirst(matches: (line: string) => boolean, signal: AbortSignal): Promise<Anchor | null> {
    return this.#reader.findFirst(matches, signal);
  }

  /** The nearest line before the window that matches. */
  async findOlder(matches: (line: string) => boolean, signal: AbortSignal): Promise<Anchor | null> {
    const first = this.anchorOf(0);
    return first && this.#reader.findBefore(first, matches, signal);
  }

  /** Reads around a place, and shows it so many rows below the top. */
  async #around(anchor: Anchor, above: number): Promise<void> {
    const { cols, rows } = this.#term;
    await this.#turnTo(
      () => this.#reader.around(anchor, ROWS_ABOVE, 2 * rows, cols),
      (window) => this.#show(window, { anchor, above }),
    );
  }

  /** Looks somewhere else, and shows it unless somebody turned elsewhere meanwhile. */
  async #turnTo(look: () => Promise<Window>, show: (window: Window) => Promise<void>): Promise<void> {
    const turn = ++this.#turn;
    this.loading = true;
    this.failed = null;
    this.#again = () => this.#turnTo(look, show);
    try {
      const window = await look();
      if (turn !== this.#turn) return;
      this.#again = null;
      await show(window);
    } catch (error) {
      if (turn === this.#turn) this.failed = error as Refusal;
    } finally {
      if (turn === this.#turn) this.loading = false;
    }
  }

  /** Shows a window of the log: its end, which is followed then, or a place in it. */
  async #show(window: Window, target: Target | null): Promise<void> {
    this.#detach();
    this.#moved = 0;
    this.paused = false;
    this.following = target === null;
    this.atStart = window.isFirst;
    this.#last = window.last;
    const drawn = this.#replace(window.pieces, target);
    this.#cover(drawn);
    if (window.isLast) this.#attach();
    await drawn;
  }

  #attach(): void {
    this.#unfollow = this.#log.follow(this.#last, {
      entry: (entry) => this.#take(entry),
      failed: (error) => {
        this.#detach();
        this.failed = error;
        this.#again = () => this.toEnd();
      },
    });
  }

  #detach(): void {
    this.#unfollow?.();
    this.#unfollow = null;
  }

  #take(entry: Entry): void {
    const pieces = piecesOf(entry, this.#isContainer);
    const size = sizeOf(pieces);
    this.#queue.push(...pieces);
    this.#queued += size;
    this.#last = entry.at;
    if (!this.following) this.behind += size;
    if (this.#queued > QUEUE_MOST) this.#leaveOut();
    else if (!this.following) this.#soon();
    else if (this.#inFlight === 0) this.#draw();
  }

  /** More waits than is worth to keep. It is read again when it is wanted. */
  #leaveOut(): void {
    let kept = 0;
    if (this.following) {
      let first = this.#queue.length;
      while (kept < QUEUE_LEFT && first > 0) kept += this.#queue[--first]!.text.length;
      this.atStart = false;
      void this.#replace(this.#queue.slice(first), null);
    } else {
      let end = 0;
      while (kept < QUEUE_LEFT && end < this.#queue.length) kept += this.#queue[end++]!.text.length;
      // Entries are kept whole: the rest is asked for by their cursors.
      while (end < this.#queue.length && this.#queue[end]!.at === this.#queue[end - 1]!.at) end++;
      this.#queue.length = end;
      this.#queued = sizeOf(this.#queue);
      this.#last = this.#queue[end - 1]!.at;
      this.#detach();
    }
  }

  /** Clears the terminal and draws other pieces: all, or up to somewhat below a place. */
  #replace(pieces: Piece[], target: Target | null): Promise<void> {
    const window = ++this.#window;
    const isNow = () => window === this.#window;
    this.#queue = pieces;
    this.#queued = sizeOf(pieces);
    this.#inFlight = 0;
    this.behind = 0;
    this.#isSettled = false;
    this.#places.clear();
    this.#writer = new Writer(this.#stamps);
    // In its turn: what is on its way into the terminal comes before it.
    this.#term.write(RESET, () => isNow() && this.#mark(0));
    for (let below = 0; this.#queue.length > 0 && below < ROWS_AHEAD;) {
      const written = this.#write();
      if (target) below += this.#rowsBehind(written, target.anchor);
    }
    return new Promise((resolve) =>
      this.#term.write("", () => {
        if (isNow()) this.#settle(target);
        resolve();
      }),
    );
  }

  /** The window is drawn: what it is for is looked at. */
  #settle(target: Target | null): void {
    if (target) this.#scrollTo(Math.max(0, (this.rowOf(target.anchor) ?? 0) - target.above));
    this.#isSettled = true;
    this.#settledAt = this.#term.buffer.normal.viewportY;
    this.scroll(this.#moved);
    this.#moved = 0;
    this.#soon();
    this.#draw();
  }

  /** Goes on showing what is seen now until something is made. */
  #cover(made: Promise<void>): void {
    this.#uncover ??= still(this.#term);
    this.#making = made;
    void made.then(() => {
      if (this.#making !== made) return;
      this.#uncover?.();
      this.#uncover = null;
    });
  }

  #rowsBehind(pieces: readonly Piece[], anchor: Anchor): number {
    return rowsOf(
      pieces.filter((piece) => compareAnchors(piece, anchor) > 0),
      this.#term.cols,
    );
  }

  /** Hands some of the queue to the terminal. */
  #draw(): void {
    if (!this.#isSettled) return;
    if (this.following) {
      while (this.#queue.length > 0 && this.#inFlight < IN_FLIGHT) this.#write();
      return;
    }
    // What is not followed is drawn somewhat further than one looks, so that one can scroll on.
    const { viewportY, baseY, cursorY } = this.#term.buffer.normal;
    if (this.#queue.length === 0 || this.#inFlight > 0 || baseY - viewportY >= ROWS_AHEAD) return;
    const isAtEnd = viewportY >= baseY;
    if (!isAtEnd) {
      this.#write();
    } else if (!this.paused) {
      // At its end the terminal moves along, which nobody asked for.
      const top = this.#term.registerMarker(viewportY - baseY - cursorY);
      this.#write();
      const moved = () => {
        if (top && !top.isDisposed) this.#scrollTo(top.line);
        top?.dispose();
      };
      this.#cover(new Promise((resolve) => this.#term.write("", () => resolve(moved()))));
    }
  }

  #write(): Piece[] {
    let text = "";
    let size = 0;
    let sent = 0;
    const begin = this.#places.lines;
    while (sent < this.#queue.length && size < BATCH && this.#places.lines - begin < BATCH_LINES) {
      const piece = this.#queue[sent++]!;
      const isMid = !this.#writer.isLineStart;
      this.#places.note(piece, piece.lines + (piece.isRule && isMid ? 1 : 0), isMid);
      text += this.#writer.write(piece);
      size += piece.text.length;
    }
    const written = this.#queue.splice(0, sent);
    this.#queued -= size;
    this.#inFlight += size;
    const window = this.#window;
    const line = this.#places.lines;
    this.#term.write(text, () => {
      if (window !== this.#window) return;
      this.#inFlight -= size;
      this.#mark(line);
      if (this.following) this.#draw();
      else this.#soon();
    });
    return written;
  }

  #mark(line: number): void {
    const isNormal = this.#term.buffer.active.type === "normal";
    if (isNormal && this.#places.wantsMark(line)) this.#places.mark(line, this.#term.registerMarker(0));
  }

  #scrollTo(row: number): void {
    // The terminal counts from where its scroll bar is, which may lag behind by a row: then the second time is right.
    this.#term.scrollToLine(row);
    if (this.#term.buffer.normal.viewportY !== row) this.#term.scrollToLine(row);
  }

  /** Looks with the next frame where it is scrolled to: once, however much happens until then. */
  #soon(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    requestAnimationFrame(() => {
      this.#isLooking = false;
      this.#looked();
    });
  }

  #looked(): void {
    const { viewportY, baseY, type } = this.#term.buffer.active;
    if (!this.#isSettled || type === "alternate") return;
    const atEnd = viewportY >= baseY;
    this.atTop = viewportY === 0;
    if (this.following && !atEnd) this.following = false;
    else if (!this.following && !this.paused && atEnd && this.#unfollow && this.#queue.length + this.#inFlight === 0) {
      this.#follow();
    }
    if (!this.following && !this.loading) {
      const hasMoved = viewportY !== this.#settledAt;
      if (viewportY < ROWS_EARLY && hasMoved && !this.atStart && !this.#term.hasSelection()) void this.older();
      else if (!this.#unfollow && this.#queue.length === 0 && baseY - viewportY < ROWS_AHEAD) void this.#newer();
    }
    this.#draw();
  }

  #follow(): void {
    this.following = true;
    this.paused = false;
    this.behind = 0;
    this.#draw();
  }

  async #newer(): Promise<void> {
    const window = this.#window;
    this.loading = true;
    try {
      const { pieces, last, isLast } = await this.#reader.on(this.#last, 2 * this.#term.rows, this.#term.cols);
      if (window !== this.#window) return;
      this.#queue.push(...pieces);
      this.#queued += sizeOf(pieces);
      this.#last = last;
      if (isLast) this.#attach();
      this.#draw();
    } catch (error) {
      if (window !== this.#window) return;
      this.failed = error as Refusal;
      this.#again = () => this.#newer();
    } finally {
      if (window === this.#window) this.loading = false;
    }
  }
}

function sizeOf(pieces: readonly Piece[]): number {
  return pieces.reduce((size, piece) => size + piece.text.length, 0);
}
