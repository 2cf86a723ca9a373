import { describe, expect, it } from "vitest";
import { compare, type Entry, type Log } from "./log.ts";
import { ATTEMPTS, attemptsOf, endInWords } from "./timeline.ts";

/** A log that has these entries. */
function logOf(entries: Entry[]): Log {
  return {
    async read(where) {
      const found =
        "after" in where
          ? entries.filter((entry) => compare(entry.at, where.after) > 0).slice(0, 1)
          : entries.filter((entry) => compare(entry.at, where.before) < 0).slice(-1);
      return { entries: found, more: false };
    },
    follow: () => () => undefined,
  };
}

const began = (attempt: number, time: number): Entry => ({
  kind: "began",
  at: `${attempt}-0`,
  time,
  attempt,
  workerId: `w${attempt}`,
});

describe("the attempts of a job", () => {
  it("are told by the first and the last entry of each, the latest first", async () => {
    const log = logOf([
      began(1, 10),
      { kind: "output", at: "1-1", time: 11, stderr: false, text: "x" },
      { kind: "requeued", at: "1-2", time: 20, reason: "worker_lost" },
      began(2, 30),
      { kind: "ended", at: "2-1", time: 40, exitCode: 0, reason: "exit", message: null },
    ]);
    expect(await attemptsOf(log, 2)).toEqual([
      { attempt: 2, workerId: "w2", began: 30, ended: 40, exitCode: 0, reason: "exit" },
      { attempt: 1, workerId: "w1", began: 10, ended: 20, exitCode: null, reason: "worker_lost" },
    ]);
  });
  it("have no end while they run, and are unknown where the log has lost them", async () => {
    const [second, first] = await attemptsOf(logOf([began(2, 30)]), 2);
    expect(second).toMatchObject({ began: 30, ended: null, reason: null });
    expect(first).toMatchObject({ began: null, ended: null, workerId: null });
  });
  it("are looked at as far as it is worth it", async () => {
    expect(await attemptsOf(logOf([]), 1000)).toHaveLength(ATTEMPTS);
  });
});

describe("an end in words", () => {
  it("says why, and nothing while there is none", () => {
    expect(endInWords({ status: "failed", reason: "signal", exitCode: 137 })).toBe("ended by signal 9");
    expect(endInWords({ status: "completed", reason: "exit", exitCode: 0 })).toBe("exit code 0");
    expect(endInWords({ status: "running", reason: null })).toBeNull();
  });
});
