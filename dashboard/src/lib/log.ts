// Logs as the dispatcher keeps them: read in pieces by cursor, in either direction, or followed as they grow.
//
// Guards: what a reader is given is contiguous, and nothing comes twice. Not here: how it looks (screen.svelte.ts).
import type { ContainerEvent, JobEvent, Reason } from "../protocol/frames.ts";
import { isContainer, link, type Refusal } from "./link.svelte.ts";

/** One entry of a log, a job's or a container's. */
export type Entry =
  | { kind: "output"; at: string; time: number; stderr: boolean; text: string }
  | { kind: "began"; at: string; time: number; attempt: number; workerId: string | null }
  | { kind: "requeued"; at: string; time: number; reason: Reason | null }
  | { kind: "ended"; at: string; time: number; exitCode: number | null; reason: Reason; message: string | null }
  | { kind: "gone"; at: string; from: string; time: number };

/** A piece of a log. */
export interface Page {
  entries: Entry[];
  /** Whether there is more in the direction that was asked for. */
  more: boolean;
}

/** What is told to whoever follows a log. */
export interface Follower {
  entry(entry: Entry): void;
  failed(error: Refusal): void;
}

/** Where logs come from. */
export interface Log {
  /** Reads a piece.
   * @throws Refusal */
  read(where: { after: string } | { before: string }, maxBytes: number): Promise<Page>;
  /** Follows it, over any number of connections, until the returned function is called. */
  follow(after: string, follower: Follower): () => void;
}

/** The cursor before everything. */
export const START = "0";

/** The order of two cursors. */
export function compare(a: string, b: string): number {
  const [attemptA, nA] = parts(a);
  const [attemptB, nB] = parts(b);
  return attemptA - attemptB || nA - nB;
}

/** The attempt that an entry is of. */
export function attemptOf(cursor: string): number {
  return parts(cursor)[0];
}

/** The first cursor after this one. */
export function next(cursor: string): string {
  const [attempt, n] = parts(cursor);
  return `${attempt}-${n + 1}`;
}

/** What to ask for to get what lies before an entry. */
export function front(entry: Entry): string {
  return entry.kind === "gone" ? entry.from : entry.at;
}

function parts(cursor: string): [number, number] {
  const [attempt = "0", n = "0"] = cursor.split("-", 2);
  return [Number(attempt), Number(n)];
}

/** The log of a job or a container. */
export function logOf(id: string): Log {
  return {
    read: (where, maxBytes) => read(id, where, maxBytes),
    follow: (after, follower) => follow(id, after, follower),
  };
}

async function read(id: string, where: { after: string } | { before: string }, maxBytes: number): Promise<Page> {
  const page = isContainer(id)
    ? await link.ask("container", { opt: "read", containerId: id, maxBytes, ...where }, "page")
    : await link.ask("job", { opt: "read", jobId: id, maxBytes, ...where }, "page");
  const entries = page.entries.map((event) => entryOf(event)).filter((entry) => entry !== null);
  if (page.removed) {
    const { from, to } = page.removed;
    entries.unshift({ kind: "gone", from, at: to, time: entries[0]?.time ?? 0 });
  }
  return { entries, more: page.more };
}

function follow(id: string, after: string, follower: Follower): () => void {
  let cursor = after;
  return link.follow(id, {
    after: () => cursor,
    event(event) {
      if (event.opt === "truncated") {
        cursor = event.to;
        return follower.entry({ kind: "gone", from: event.from, at: event.to, time: link.now() });
      }
      const entry = entryOf(event);
      if (!entry || compare(entry.at, cursor) <= 0) return;
      cursor = entry.at;
      follower.entry(entry);
    },
    // The place in the log is known: it goes on from there.
    stale: () => undefined,
    failed: (error) => follower.failed(error),
  });
}

const decoder = new TextDecoder();

function entryOf(event: JobEvent | ContainerEvent): Entry | null {
  if (!("at" in event) || !event.at) return null;
  const { at } = event;
  switch (event.opt) {
    case "output": {
      // Bytes that are no text are shown as what they are: characters that nobody can read.
      const bytes = event.base64 ? Uint8Array.from(atob(event.base64), (c) => c.charCodeAt(0)) : null;
      const text = bytes ? decoder.decode(bytes) : (event.text ?? "");
      return { kind: "output", at, time: event.time, stderr: event.stream === "stderr", text };
    }
    case "status":
      if (event.status === "pending") return { kind: "requeued", at, time: event.time, reason: event.reason ?? null };
      return { kind: "began", at, time: event.time, attempt: attemptOf(at), workerId: event.workerId ?? null };
    case "end": {
      const { time, reason } = event;
      return { kind: "ended", at, time, exitCode: event.exitCode ?? null, reason, message: event.errorMessage ?? null };
    }
    default:
      return null;
  }
}
