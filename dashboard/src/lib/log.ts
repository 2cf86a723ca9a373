// Logs as the dispatcher keeps them: read in pieces by cursor, in either direction, or followed as they grow.
//
// Guards: what a reader is given is contiguous. Not here: how it looks (screen.svelte.ts).
import type { ContainerEvent, JobEvent, Reason } from "../protocol/frames.ts";
import { isContainer, link, type Refusal } from "./link.svelte.ts";

/** One entry of a log, a job's or a container's. */
export type Entry =
  | { kind: "output"; at: string; time: number; stderr: boolean; bytes: string | Uint8Array }
  | { kind: "began"; at: string; time: number; attempt: number; workerId: string | null }
  | { kind: "requeued"; at: string; time: number; reason: Reason | null }
  | { kind: "ended"; at: string; time: number; exitCode: number | null; reason: Reason; message: string | null }
  | { kind: "gone"; at: string; from: string; time: number };

/** A piece of a log. */
export interface Page {
  entries: Entry[];
  /** Whether there is more in the direction that was asked for. */
  more: boolean;
  /** The newest cursor of all. */
  top: string;
}

/** Bytes that are read at a time, well below the largest page there is. */
export const PAGE_BYTES = 256 * 1024;

/** The cursor before everything. */
export const START = "0";

/** The order of two cursors. */
export function compare(a: string, b: string): number {
  const [attemptA, nA] = parts(a);
  const [attemptB, nB] = parts(b);
  return attemptA - attemptB || nA - nB;
}

function parts(cursor: string): [number, number] {
  const [attempt = "0", n = "0"] = cursor.split("-", 2);
  return [Number(attempt), Number(n)];
}

/** The cursor right before this one, as far as it can be told. */
export function before(cursor: string): string {
  const [attempt, n] = parts(cursor);
  if (n > 0) return `${attempt}-${n - 1}`;
  return attempt > 0 ? `${attempt - 1}-${Number.MAX_SAFE_INTEGER}` : START;
}

/** Characters, or bytes where it is none. */
export function sizeOf(entry: Entry): number {
  return entry.kind === "output" ? entry.bytes.length : 64;
}

/** Reads a piece.
 * @throws Refusal */
export async function read(
  id: string,
  where: { after: string } | { before: string },
  maxBytes = PAGE_BYTES,
): Promise<Page> {
  const page = isContainer(id)
    ? await link.ask("container", { opt: "read", containerId: id, maxBytes, ...where }, "page")
    : await link.ask("job", { opt: "read", jobId: id, maxBytes, ...where }, "page");
  const entries = page.entries.map((event) => entryOf(event)).filter((entry) => entry !== null);
  if (page.removed) {
    const { from, to } = page.removed;
    entries.unshift({ kind: "gone", from, at: to, time: entries[0]?.time ?? 0 });
  }
  return { entries, more: page.more, top: page.top };
}

/** Follows a log, over any number of connections, until the returned function is called. */
export function follow(
  id: string,
  after: string,
  hear: { entry(entry: Entry): void; live(live: boolean): void; failed(error: Refusal): void },
): () => void {
  let cursor = after;
  return link.follow(id, {
    after: () => cursor,
    event(event) {
      if (event.opt === "live") return hear.live(true);
      if (event.opt === "truncated") {
        cursor = event.to;
        return hear.entry({ kind: "gone", from: event.from, at: event.to, time: link.now() });
      }
      const entry = entryOf(event);
      // A resumed log begins after the cursor; what is not after it was seen.
      if (!entry || compare(entry.at, cursor) <= 0) return;
      cursor = entry.at;
      hear.entry(entry);
    },
    stale: () => hear.live(false),
    failed: (error) => hear.failed(error),
  });
}

function entryOf(event: JobEvent | ContainerEvent): Entry | null {
  if (!("at" in event) || !event.at) return null;
  const { at } = event;
  switch (event.opt) {
    case "output": {
      const bytes = event.base64 ? Uint8Array.from(atob(event.base64), (c) => c.charCodeAt(0)) : (event.text ?? "");
      return { kind: "output", at, time: event.time, stderr: event.stream === "stderr", bytes };
    }
    case "status":
      if (event.status === "pending") return { kind: "requeued", at, time: event.time, reason: event.reason ?? null };
      return { kind: "began", at, time: event.time, attempt: event.attempt, workerId: event.workerId ?? null };
    case "end": {
      const { time, reason } = event;
      return { kind: "ended", at, time, exitCode: event.exitCode ?? null, reason, message: event.errorMessage ?? null };
    }
    default:
      return null;
  }
}
