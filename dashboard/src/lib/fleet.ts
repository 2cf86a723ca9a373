// Machines as people look at them: how they stand, which of them are meant, who has their GPUs, what runs there.
import type { ContainerRecord, JobRecord, Reason, WorkerRecord } from "../protocol/frames.ts";
import { commandLine } from "./format.ts";

/** How a machine stands; one that takes no new jobs is of its own kind. */
export type State = "idle" | "busy" | "draining" | "offline";
export const STATES: readonly State[] = ["busy", "idle", "draining", "offline"];

export function stateOf(worker: WorkerRecord): State {
  return worker.draining && worker.status !== "offline" ? "draining" : worker.status;
}

export function countStates(workers: readonly WorkerRecord[]): Record<State, number> {
  const counts = { idle: 0, busy: 0, draining: 0, offline: 0 };
  for (const worker of workers) counts[stateOf(worker)]++;
  return counts;
}

/** Whether every word of `text` is somewhere in what is told of a machine. */
export function matches(worker: WorkerRecord, text: string): boolean {
  const labels = Object.entries(worker.labels).map(([key, value]) => `${key}=${value}`);
  const gpus = worker.gpus.map(({ name }) => name ?? "");
  const told = [worker.workerId, worker.hostname, worker.ip ?? "", worker.os, worker.arch, worker.version];
  const all = [...told, ...labels, ...gpus].join("\n").toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}

/** Something that has GPUs, or runs on a machine. */
export interface Task {
  id: string;
  /** The short number. */
  number: number;
  account: string;
  /** What it is called or runs; null where that is not for us to know. */
  title: string | null;
  gpuIds: readonly number[];
  startedAt: number | null;
  /** Its page; null where it is not for us to see. */
  href: string | null;
}

/** A task as `GET /api/task/machine/{id}` tells of it. */
export interface ForeignTask {
  taskId: number;
  jobId: string;
  user_id: string;
  command: string;
  gpu_ids: number[];
  start_time: number | null;
  status: string;
}

/** What runs on a machine: what we may see of it, and that there is more. Oldest first. */
export function tasksOf(
  workerId: string,
  jobs: readonly JobRecord[],
  containers: readonly ContainerRecord[],
  foreign: readonly ForeignTask[] = [],
): Task[] {
  const tasks = new Map<string, Task>();
  for (const job of jobs) {
    if (job.workerId !== workerId || job.status !== "running") continue;
    tasks.set(job.jobId, {
      id: job.jobId,
      number: job.taskId,
      account: job.account,
      title: job.name ?? firstLine(commandLine(job)),
      gpuIds: job.gpuIds,
      startedAt: job.startedAt ?? null,
      href: `#/jobs/${job.taskId}`,
    });
  }
  for (const container of containers) {
    if (container.workerId !== workerId || container.status !== "running") continue;
    tasks.set(container.containerId, {
      id: container.containerId,
      number: container.number,
      account: container.account,
      title: container.name ?? container.imageId,
      gpuIds: container.gpuIds,
      startedAt: container.startedAt ?? null,
      href: `#/containers/${container.containerId}`,
    });
  }
  for (const task of foreign) {
    if (task.status !== "running" || tasks.has(task.jobId)) continue;
    tasks.set(task.jobId, {
      id: task.jobId,
      number: task.taskId,
      account: task.user_id,
      title: task.command ? firstLine(task.command) : null,
      gpuIds: task.gpu_ids,
      startedAt: task.start_time,
      href: null,
    });
  }
  return [...tasks.values()].sort((a, b) => (a.startedAt ?? 0) - (b.startedAt ?? 0));
}

/** Which task has which GPU. */
export function gpuOwners(tasks: readonly Task[]): Map<number, Task> {
  return new Map(tasks.flatMap((task) => task.gpuIds.map((index) => [index, task] as const)));
}

/** How many of its GPUs a machine could give: none while it is not there. */
export function freeGpus(worker: WorkerRecord, isTaken: (index: number) => boolean): number {
  if (worker.status === "offline") return 0;
  return worker.gpus.filter(({ index }) => !isTaken(index)).length;
}

/** Jobs that wait for the same thing. */
export interface Wait {
  reason: string;
  count: number;
  /** The one that waits longest. */
  oldest: JobRecord;
}

/** What jobs wait for, most first. */
export function waits(jobs: readonly JobRecord[]): Wait[] {
  const byReason = new Map<string, Wait>();
  for (const job of jobs) {
    const reason = job.waitingFor ?? "its turn";
    const known = byReason.get(reason);
    if (!known) byReason.set(reason, { reason, count: 1, oldest: job });
    else byReason.set(reason, { reason, count: known.count + 1, oldest: older(known.oldest, job) });
  }
  return [...byReason.values()].sort((a, b) => b.count - a.count);
}

function older(a: JobRecord, b: JobRecord): JobRecord {
  return b.createdAt < a.createdAt ? b : a;
}

export function firstLine(text: string): string {
  return text.trim().split("\n")[0] ?? "";
}

const REASONS: Record<Reason, string> = {
  exit: "ended",
  signal: "ended by a signal",
  timeout: "took longer than it may",
  queue_timeout: "waited longer than it may",
  worker_lost: "its machine was lost",
  spawn_error: "could not be started",
  out_of_memory: "out of memory",
  cancelled: "cancelled",
  rejected: "rejected",
  removed: "removed",
};

/** How something ended, in a few words: what was said of it, or else why it was. */
export function ended(of: { reason?: Reason | null; exitCode?: number | null; errorMessage?: string | null }): string {
  const code = of.exitCode === null || of.exitCode === undefined ? "" : `exit code ${of.exitCode}`;
  if (of.errorMessage) return firstLine(of.errorMessage);
  if (of.reason === "exit" || !of.reason) return code || "ended";
  return code ? `${REASONS[of.reason]}, ${code}` : REASONS[of.reason];
}
