// Text as people type it into one field, and the list, size or time that it means. Nothing is expanded and nothing guessed:
// what cannot be read is null.

/** A name and what it stands for. */
export interface Pair {
  name: string;
  value: string;
}

/** Splits as a shell does: at spaces, with quotes and backslashes. Null where a quote is not closed. */
export function splitWords(text: string, separator = /\s/): string[] | null {
  const words: string[] = [];
  let word: string | null = null;
  let quote: string | null = null;
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    const next = text.charAt(i + 1);
    if (quote === "'") {
      if (c === "'") quote = null;
      else word += c;
    } else if (quote === '"') {
      if (c === '"') quote = null;
      else if (c === "\\" && /["\\$`]/.test(next)) word += text.charAt(++i);
      else word += c;
    } else if (c === "'" || c === '"') {
      quote = c;
      word ??= "";
    } else if (c === "\\" && next !== "") {
      word = (word ?? "") + next;
      i++;
    } else if (separator.test(c)) {
      if (word !== null) words.push(word);
      word = null;
    } else {
      word = (word ?? "") + c;
    }
  }
  if (quote !== null) return null;
  if (word !== null) words.push(word);
  return words;
}

/** Where words of a list end: at spaces and commas. */
export const LIST = /[\s,]/;

/** The text that `splitWords` makes the same words of. */
export function joinWords(words: readonly string[]): string {
  const quoted = (word: string) => (/^[^\s,'"\\]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
  return words.map(quoted).join(" ");
}

/** Lines such as `A=b` or `export A="b c"`, as a file of variables has them. Null where there is something else, too. */
export function pairsOf(text: string): Pair[] | null {
  const pairs: Pair[] = [];
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*(#|$)/.test(line)) continue;
    const match = /^\s*(?:export\s+)?([^\s=]+)=(.*?)\s*$/.exec(line);
    const [, name, value] = match ?? [];
    if (name === undefined || value === undefined) return null;
    const quoted = /^(["'])(.*)\1$/.exec(value);
    pairs.push({ name, value: quoted?.[2] ?? value });
  }
  return pairs;
}

const SIZES: Record<string, number> = {
  "": 1,
  b: 1,
  k: 2 ** 10,
  kib: 2 ** 10,
  m: 2 ** 20,
  mib: 2 ** 20,
  g: 2 ** 30,
  gib: 2 ** 30,
  t: 2 ** 40,
  tib: 2 ** 40,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
};

/** Bytes, from "4GiB". */
export function sizeOf(text: string): number | null {
  const [, digits, unit] = /^(\d+)\s*([a-z]*)$/i.exec(text.trim()) ?? [];
  const factor = unit === undefined ? undefined : SIZES[unit.toLowerCase()];
  if (digits === undefined || factor === undefined) return null;
  const bytes = Number(digits) * factor;
  return Number.isSafeInteger(bytes) ? bytes : null;
}

/** "4GiB", in the largest unit that says it exactly. */
export function sizeText(bytes: number): string {
  for (const [unit, size] of Object.entries({ TiB: 2 ** 40, GiB: 2 ** 30, MiB: 2 ** 20, KiB: 2 ** 10 })) {
    if (bytes > 0 && bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return String(bytes);
}

const SPANS: Record<string, number> = { ms: 0.001, s: 1, sec: 1, m: 60, min: 60, h: 3600, d: 86_400, w: 604_800 };

/** Seconds, from "1h 30m" or "90". */
export function spanOf(text: string): number | null {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed);
  if (!/^(\d+\s*[a-z]+\s*)+$/i.test(trimmed)) return null;
  let secs = 0;
  for (const [, digits, unit] of trimmed.matchAll(/(\d+)\s*([a-z]+)/gi)) {
    const size = SPANS[(unit ?? "").toLowerCase()];
    if (size === undefined) return null;
    secs += Number(digits) * size;
  }
  return secs;
}

/** "1h 30m", exactly, to the millisecond. */
export function spanText(secs: number): string {
  let left = secs > 0 ? Math.max(1, Math.round(secs * 1000)) : 0;
  const said: string[] = [];
  for (const [unit, size] of Object.entries({ d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 })) {
    const n = Math.floor(left / size);
    left -= n * size;
    if (n > 0) said.push(`${n}${unit}`);
  }
  return said.join(" ") || "0s";
}
