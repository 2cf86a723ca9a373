// How well what was typed fits a name: all its letters, in order.

/** Whether what was typed stands in the name as it is. */
export function isIn(typed: string, name: string): boolean {
  return name.toLowerCase().includes(typed.toLowerCase().trim());
}

/** Higher fits better; null: not at all. Whole words and beginnings of words count most. */
export function fits(typed: string, name: string): number | null {
  const wanted = typed.toLowerCase().trim();
  const text = name.toLowerCase();
  if (wanted === "") return 0;
  const whole = text.indexOf(wanted);
  if (whole >= 0) return 100 + (startsWord(text, whole) ? 50 : 0) - whole * 0.1 - text.length * 0.01;
  let score = 0;
  let at = -1;
  for (const letter of wanted.replace(/\s+/g, "")) {
    const found = text.indexOf(letter, at + 1);
    if (found < 0) return null;
    if (startsWord(text, found)) score += 4;
    else if (found === at + 1) score += 2;
    else score -= Math.min(found - at, 8) * 0.25;
    at = found;
  }
  return score - text.length * 0.01;
}

function startsWord(text: string, at: number): boolean {
  return at === 0 || !/[a-z0-9]/.test(text.charAt(at - 1));
}

/** Those that fit, best first; in their own order where they fit as well. */
export function best<T>(typed: string, things: readonly T[], nameOf: (thing: T) => string): T[] {
  const scored = things.map((thing) => ({ thing, score: fits(typed, nameOf(thing)) }));
  const fitting = scored.filter((one): one is { thing: T; score: number } => one.score !== null);
  return fitting.sort((a, b) => b.score - a.score).map(({ thing }) => thing);
}
