// What something used within the last hour: what was kept of it and what comes in, as columns for graphs.
//
// Invariant: a line is never drawn over a time of which nothing is known.

/** What was measured at one moment. */
export interface Sample {
  /** In milliseconds. */
  time: number;
}

/** As far as is looked back. */
export const WINDOW_MS = 3_600_000;
/** Samples that are kept at the most: an hour of one a second, and a little. */
const MOST = 4000;
/** A silence so many times as long as usual is a gap. */
const GAP = 3;
/** So many of the latest steps tell what is usual. */
const STEPS = 50;

/** Both as one, by time. Where both have a moment, `newer` is right. What is older than an hour is left out. */
export function merge<S extends Sample>(older: readonly S[], newer: readonly S[], now: number): S[] {
  const byTime = new Map<number, S>();
  for (const sample of older) byTime.set(sample.time, sample);
  for (const sample of newer) byTime.set(sample.time, sample);
  const kept = [...byTime.values()].filter(({ time }) => time > now - WINDOW_MS);
  return kept.sort((a, b) => a.time - b.time).slice(-MOST);
}

/** Columns of one length: a graph's. */
export interface Columns<S extends Sample> {
  /** In seconds. */
  times: number[];
  /** In seconds: a longer silence is a gap, and after it the last value is none of now. */
  longest: number;
  /** One value a time; null where there is none. */
  column: (read: (sample: S) => number | null | undefined) => (number | null)[];
}

/** Samples, oldest first, as columns, with an empty place in each gap. `everySecs`: the least that is usual. */
export function columns<S extends Sample>(samples: readonly S[], everySecs: number): Columns<S> {
  const longest = GAP * Math.max(everySecs * 1000, usualStep(samples));
  const times: number[] = [];
  const places: (S | null)[] = [];
  let last: number | null = null;
  for (const sample of samples) {
    if (last !== null && sample.time - last > longest) {
      times.push((last + 1) / 1000);
      places.push(null);
    }
    times.push(sample.time / 1000);
    places.push(sample);
    last = sample.time;
  }
  return {
    times,
    longest: longest / 1000,
    column: (read) => places.map((sample) => (sample ? (read(sample) ?? null) : null)),
  };
}

function usualStep(samples: readonly Sample[]): number {
  const latest = samples.slice(-STEPS - 1);
  const steps = latest.slice(1).map(({ time }, i) => time - (latest[i]?.time ?? time));
  return steps.sort((a, b) => a - b)[Math.floor(steps.length / 2)] ?? 0;
}
