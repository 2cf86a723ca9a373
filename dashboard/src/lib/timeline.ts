// What happened to a job: its attempts, as the first and the last entry of each in its log tell.
import type { JobRecord, Reason, Status } from "../protocol/frames.ts";
import { attemptOf, type Entry, type Log } from "./log.ts";

/** One run of a job. */
export interface Attempt {
  attempt: number;
  workerId: string | null;
  began: number | null;
  ended: number | null;
  exitCode: number | null;
  /** None while it runs, or where nothing is known of it any more. */
  reason: Reason | null;
}

/** Attempts that are looked at: the latest. */
export const ATTEMPTS = 50;
/** No entry of an attempt has a larger number. */
const LAST = Number.MAX_SAFE_INTEGER;

/** The attempts of a job, the latest first.
 * @throws Refusal */
export async function attemptsOf(log: Log, latest: number): Promise<Attempt[]> {
  const from = Math.max(1, latest - ATTEMPTS + 1);
  const attempts = Array.from({ length: latest - from + 1 }, (_, k) => latest - k);
  return Promise.all(attempts.map((attempt) => attemptIn(log, attempt)));
}

async function attemptIn(log: Log, attempt: number): Promise<Attempt> {
  const [first, last] = await Promise.all([
    log.read({ after: `${attempt - 1}-${LAST}` }, 1),
    log.read({ before: `${attempt + 1}-0` }, 1),
  ]);
  const isOfIt = (entry: Entry) => attemptOf(entry.at) === attempt;
  const began = first.entries.find((entry) => entry.kind === "began" && isOfIt(entry));
  const end = last.entries.findLast(isOfIt);
  const ended = end?.kind === "ended" || end?.kind === "requeued" ? end : null;
  return {
    attempt,
    workerId: began?.kind === "began" ? began.workerId : null,
    began: began?.time ?? null,
    ended: ended?.time ?? null,
    exitCode: ended?.kind === "ended" ? ended.exitCode : null,
    reason: ended?.reason ?? null,
  };
}

/** Why something ended, in words. */
export function reasonInWords(reason: Reason, exitCode: number | null): string {
  switch (reason) {
    case "exit":
      return `exit code ${exitCode ?? "unknown"}`;
    case "signal":
      return exitCode === null ? "ended by a signal" : `ended by signal ${exitCode - 128}`;
    case "timeout":
      return "ran longer than it may";
    case "queue_timeout":
      return "waited longer than it may";
    case "worker_lost":
      return "its worker was lost";
    case "spawn_error":
      return "could not be started";
    case "out_of_memory":
      return "used more memory than it may";
    case "cancelled":
      return "cancelled";
    case "rejected":
      return "refused by workers";
    case "removed":
      return "removed";
  }
}

/** How a job ended, in words; nothing while it has not. */
export function endInWords(job: {
  status: Status;
  reason?: JobRecord["reason"];
  exitCode?: number | null;
}): string | null {
  if (job.status === "pending" || job.status === "running" || !job.reason) return null;
  return reasonInWords(job.reason, job.exitCode ?? null);
}
