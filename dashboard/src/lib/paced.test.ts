import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Paced } from "./paced.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("does it once for many calls, and once more for those that came meanwhile", async () => {
  const act = vi.fn(async () => undefined);
  const paced = new Paced(act, 1000);
  for (let i = 0; i < 5; i++) paced.again();
  await vi.advanceTimersByTimeAsync(0);
  expect(act).toHaveBeenCalledTimes(1);
  for (let i = 0; i < 5; i++) paced.again();
  await vi.advanceTimersByTimeAsync(999);
  expect(act).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(act).toHaveBeenCalledTimes(2);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(act).toHaveBeenCalledTimes(2);
});

it("never does two at a time", async () => {
  let end = (): void => undefined;
  const act = vi.fn(() => new Promise<void>((resolve) => (end = resolve)));
  const paced = new Paced(act, 10);
  paced.again();
  await vi.advanceTimersByTimeAsync(20);
  paced.again();
  await vi.advanceTimersByTimeAsync(100);
  expect(act).toHaveBeenCalledTimes(1);
  end();
  await vi.advanceTimersByTimeAsync(20);
  expect(act).toHaveBeenCalledTimes(2);
});

it("does nothing once it is stopped", async () => {
  const act = vi.fn(async () => undefined);
  const paced = new Paced(act, 10);
  paced.again();
  paced.stop();
  await vi.advanceTimersByTimeAsync(100);
  expect(act).not.toHaveBeenCalled();
});
