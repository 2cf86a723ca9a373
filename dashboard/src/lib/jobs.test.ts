import { describe, expect, it } from "vitest";
import type { JobRecord } from "../protocol/frames.ts";
import { indexOf, inserted, withStatus } from "./jobs.svelte.ts";

const jobs = [9, 7, 4, 1].map((taskId) => ({ taskId }));

describe("a list of jobs, the newest first", () => {
  it("finds each by its number, and none that is not there", () => {
    expect([9, 7, 4, 1].map((taskId) => indexOf(jobs, taskId))).toEqual([0, 1, 2, 3]);
    expect([10, 8, 2, 0].map((taskId) => indexOf(jobs, taskId))).toEqual([-1, -1, -1, -1]);
  });
  it("takes one more in its place, and none twice", () => {
    const numbers = (taskId: number) => inserted(jobs, { taskId }).map((job) => job.taskId);
    expect(numbers(10)).toEqual([10, 9, 7, 4, 1]);
    expect(numbers(5)).toEqual([9, 7, 5, 4, 1]);
    expect(numbers(0)).toEqual([9, 7, 4, 1, 0]);
    expect(numbers(4)).toEqual([9, 7, 4, 1]);
  });
});

describe("a job after a change of its status", () => {
  const job = { taskId: 1, status: "pending", waitingFor: "a worker", attempt: 0, startedAt: null } as JobRecord;
  const event = { jobId: "job-1", attempt: 1, workerId: "w", time: 7 };
  it("runs from then on, and waits for nothing", () => {
    const runs = withStatus(job, { ...event, status: "running" });
    expect(runs).toMatchObject({ status: "running", startedAt: 7, waitingFor: null, workerId: "w", attempt: 1 });
  });
  it("has ended then, with what the change says of it", () => {
    const ended = withStatus(job, { ...event, status: "failed", exitCode: 3, reason: "exit" });
    expect(ended).toMatchObject({ status: "failed", completedAt: 7, exitCode: 3, reason: "exit" });
  });
});
