import { describe, expect, it } from "vitest";
import type { ContainerRecord, JobRecord, WorkerRecord } from "../protocol/frames.ts";
import { countStates, freeGpus, gpuOwners, matches, stateOf, tasksOf, waits, type ForeignTask } from "./fleet.ts";

const worker = (change: Partial<WorkerRecord>): WorkerRecord => ({
  workerId: "gpu-box-1",
  hostname: "a.lan",
  arch: "x86_64",
  os: "linux",
  version: "0.1.0",
  cpuCount: 8,
  memoryBytes: 1,
  diskBytes: 1,
  draining: false,
  gpus: [{ index: 0, name: "NVIDIA H200" }],
  labels: { zone: "eu" },
  lastSeen: 0,
  running: 0,
  slots: 8,
  status: "idle",
  ...change,
});
const job = (taskId: number, change: Partial<JobRecord> = {}): JobRecord => ({
  account: "ada",
  attempt: 1,
  command: "python train.py\n--fast",
  createdAt: taskId,
  gpuIds: [],
  jobId: `job-${taskId}`,
  priority: 0,
  status: "running",
  stderrBytes: 0,
  stdoutBytes: 0,
  tags: [],
  taskId,
  workerId: "gpu-box-1",
  startedAt: taskId,
  ...change,
});
describe("free GPUs", () => {
  const gpus = [{ index: 0 }, { index: 2 }];
  it("are those that nobody has", () => {
    expect(freeGpus(worker({ gpus }), (index) => index === 2)).toBe(1);
  });
  it("are none where the machine is not there", () => {
    expect(freeGpus(worker({ gpus, status: "offline" }), () => false)).toBe(0);
  });
});

const container: ContainerRecord = {
  account: "ada",
  attempt: 1,
  containerId: "ctr-9-c5",
  createdAt: 0,
  startedAt: 0,
  gpuIds: [2],
  imageId: "nginx",
  mounts: [],
  name: "web",
  number: 9,
  ports: [],
  restart: "no",
  status: "running",
  tty: false,
  workerId: "gpu-box-1",
};
const foreign = (taskId: number, gpu_ids: number[], status = "running"): ForeignTask => ({
  taskId,
  jobId: `job-${taskId}`,
  user_id: "bob",
  command: "",
  gpu_ids,
  start_time: taskId,
  status,
});

describe("machines", () => {
  it("that drain are said to drain, unless they are away", () => {
    expect(stateOf(worker({ draining: true, status: "busy" }))).toBe("draining");
    expect(stateOf(worker({ draining: true, status: "offline" }))).toBe("offline");
    expect(countStates([worker({}), worker({ draining: true })])).toEqual({
      idle: 1,
      busy: 0,
      draining: 1,
      offline: 0,
    });
  });

  it("are found by any words that are told of them", () => {
    expect(matches(worker({}), "h200 zone=eu")).toBe(true);
    expect(matches(worker({}), "BOX")).toBe(true);
    expect(matches(worker({}), "")).toBe(true);
    expect(matches(worker({}), "h200 zone=us")).toBe(false);
  });
});

describe("tasks", () => {
  it("are our own jobs and containers, and what others have, without their command", () => {
    const others = [foreign(3, [1]), foreign(1, [0]), foreign(4, [], "pending")];
    const tasks = tasksOf("gpu-box-1", [job(1, { gpuIds: [0] }), job(2, { workerId: "else" })], [container], others);
    expect(tasks.map(({ id }) => id)).toEqual(["ctr-9-c5", "job-1", "job-3"]);
    expect(tasks[1]).toMatchObject({ account: "ada", title: "python train.py", href: "#/jobs/1" });
    expect(tasks[2]).toMatchObject({ account: "bob", title: null, href: null });
    const owners = gpuOwners(tasks);
    expect([0, 1, 2, 3].map((index) => owners.get(index)?.id)).toEqual(["job-1", "job-3", "ctr-9-c5", undefined]);
  });
});

describe("what waits", () => {
  it("is told by reason, most first, with the one that waits longest", () => {
    const pending = [
      job(5, { waitingFor: "a worker to connect" }),
      job(4, { waitingFor: "a free slot" }),
      job(3, { waitingFor: "a free slot" }),
    ];
    expect(waits(pending)).toEqual([
      { reason: "a free slot", count: 2, oldest: pending[2] },
      { reason: "a worker to connect", count: 1, oldest: pending[0] },
    ]);
  });
});
