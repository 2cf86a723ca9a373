// How lines of graphs look, and what their axes say.

/** The colours of lines, by the names that app.css gives them. */
const COLORS = [
  { variable: "--accent", swatch: "bg-accent" },
  { variable: "--running", swatch: "bg-running" },
  { variable: "--pending", swatch: "bg-pending" },
  { variable: "--failed", swatch: "bg-failed" },
  { variable: "--completed", swatch: "bg-completed" },
  { variable: "--cancelled", swatch: "bg-cancelled" },
] as const;
/** Dashes of the lines that have a colour for the second time, and so on. */
const DASHES: readonly (readonly number[])[] = [[], [6, 3], [2, 3]];

/** One line of a graph. */
export interface Line {
  label: string;
  /** One a time of the graph; null where there is none. */
  values: readonly (number | null)[];
}

/** How the line with this index looks. */
export function lookOf(index: number): { variable: string; swatch: string; dash: readonly number[] } {
  const color = COLORS[index % COLORS.length] ?? COLORS[0];
  return { ...color, dash: DASHES[Math.floor(index / COLORS.length) % DASHES.length] ?? [] };
}

/** Distances between the marks of an axis of bytes: 1, 2, 4, … so that marks are whole KiB, MiB, GiB. */
export const BYTE_STEPS: number[] = Array.from({ length: 60 }, (_, power) => 2 ** power);

/** What a graph shows, in words, for those who cannot see it. `place`: of the values of now. */
export function described(
  title: string,
  lines: readonly Line[],
  place: number,
  format: (value: number) => string,
): string {
  const said = lines.map(({ label, values }) => {
    const value = values[place] ?? null;
    return `${label} ${value === null ? "not known" : format(value)}`;
  });
  return `${title} over the last hour. Now: ${said.join(", ") || "nothing"}.`;
}
