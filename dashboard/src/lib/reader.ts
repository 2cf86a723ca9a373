// Parts of a log as they are shown or searched: put together of as few pages as it takes.
import { compareAnchors, Finder, headOf, piecesOf, rowsOf, type Anchor, type Piece } from "./lines.ts";
import { front, next, START, type Entry, type Log } from "./log.ts";

/** A part of a log, ready to be shown. */
export interface Window {
  pieces: Piece[];
  /** The last cursor in it. */
  last: string;
  /** Whether there is nothing before it, or after it. */
  isFirst: boolean;
  isLast: boolean;
}

/** Bytes that are read at a time: backwards, onwards, and to be searched. */
const BACK_BYTES = 256 * 1024;
const ON_BYTES = 64 * 1024;
const SEARCH_BYTES = 512 * 1024;
/** Pages that are put together at the most. */
const PAGES = 4;

export class Reader {
  readonly #log: Log;
  readonly #isContainer: boolean;

  constructor(log: Log, isContainer: boolean) {
    this.#log = log;
    this.#isContainer = isContainer;
  }

  /** What lies around a place: about `above` rows before it at the most, and `below` behind it at the least. */
  async around(place: Anchor, above: number, below: number, columns: number): Promise<Window> {
    const [back, on] = await Promise.all([
      this.back(next(place.at), above / 2, above, columns, place),
      this.on(place.at, below, columns),
    ]);
    return { ...on, pieces: [...back.pieces, ...on.pieces], isFirst: back.isFirst };
  }

  /** Reads back from a cursor until there are `enough` rows, or so many before a place, and cuts off what is more than `most`. */
  async back(cursor: string, enough: number, most: number, columns: number, place?: Anchor): Promise<Window> {
    const counted = (pieces: readonly Piece[]) =>
      rowsOf(place ? pieces.filter((piece) => compareAnchors(piece, place) <= 0) : pieces, columns);
    let pieces: Piece[] = [];
    let last = START;
    let more = true;
    let rows = 0;
    for (let page = 0, before = cursor; page < PAGES && more && rows < enough; page++) {
      const read = await this.#log.read({ before }, BACK_BYTES);
      const edge = read.entries[0];
      more = read.more;
      if (!edge) break;
      if (page === 0) last = read.entries.at(-1)?.at ?? START;
      const found = this.#piecesOf(read.entries);
      pieces = [...found, ...pieces];
      rows += counted(found);
      before = front(edge);
    }
    let first = 0;
    while (rows > most && first < pieces.length - 1) rows -= counted(pieces.slice(first, ++first));
    return { pieces: pieces.slice(first), last, isFirst: !more && first === 0, isLast: true };
  }

  /** Reads on from a cursor until there are enough rows. */
  async on(after: string, enough: number, columns: number): Promise<Window> {
    const pieces: Piece[] = [];
    let last = after;
    let more = true;
    for (let page = 0; page < PAGES && more && rowsOf(pieces, columns) < enough; page++) {
      const read = await this.#log.read({ after: last }, ON_BYTES);
      const edge = read.entries.at(-1);
      more = read.more;
      if (!edge) break;
      pieces.push(...this.#piecesOf(read.entries));
      last = edge.at;
    }
    return { pieces, last, isFirst: false, isLast: !more };
  }

  /** The first line that matches. */
  async findFirst(matches: (line: string) => boolean, signal: AbortSignal): Promise<Anchor | null> {
    const finder = new Finder(matches);
    for (let after = START; ;) {
      const { entries, more } = await this.#log.read({ after }, SEARCH_BYTES);
      if (signal.aborted) return null;
      const edge = entries.at(-1);
      const found = finder.first(entries);
      if (found || !more || !edge) return found ?? finder.rest();
      after = edge.at;
    }
  }

  /** The last line before a place that matches. */
  async findBefore(place: Anchor, matches: (line: string) => boolean, signal: AbortSignal): Promise<Anchor | null> {
    let below = place;
    let newer: readonly Entry[] = [];
    for (let before = next(place.at); ;) {
      const { entries, more } = await this.#log.read({ before }, SEARCH_BYTES);
      if (signal.aborted) return null;
      const edge = entries[0];
      const found = new Finder(matches).last([...entries, ...headOf(newer)], below);
      if (found || !more || !edge) return found;
      before = front(edge);
      below = { at: before, line: 0 };
      newer = entries;
    }
  }

  #piecesOf(entries: readonly Entry[]): Piece[] {
    return entries.flatMap((entry) => piecesOf(entry, this.#isContainer));
  }
}
