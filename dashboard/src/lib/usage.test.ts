import { describe, expect, it } from "vitest";
import { columns, merge, WINDOW_MS, type Sample } from "./usage.ts";

const NOW = 1_800_000_000_000;
const at = (...seconds: number[]): Sample[] => seconds.map((second) => ({ time: NOW + second * 1000 }));
const valued = (time: number, value: number) => ({ time: NOW + time, value });

describe("merging", () => {
  it("puts what was kept and what came in meanwhile in order, each moment once", () => {
    const merged = merge(at(-30, -20, -10), at(-20, -15, 0), NOW);
    expect(merged).toEqual(at(-30, -20, -15, -10, 0));
  });

  it("believes the newer of two that speak of one moment", () => {
    expect(merge([valued(-5, 1)], [valued(-5, 2)], NOW)).toEqual([valued(-5, 2)]);
  });

  it("forgets what is older than an hour", () => {
    expect(merge([{ time: NOW - WINDOW_MS }, { time: NOW - WINDOW_MS + 1 }], [], NOW)).toHaveLength(1);
  });

  it("never keeps more than a bound, however often samples come", () => {
    const many = Array.from({ length: 9000 }, (_, i) => ({ time: NOW - 9000 + i }));
    const merged = merge(many, [], NOW);
    expect(merged).toHaveLength(4000);
    expect(merged.at(-1)).toEqual(many.at(-1));
  });
});

describe("columns", () => {
  it("have one value a time, and none where something was not measured", () => {
    const { times, column } = columns([valued(0, 1), { time: NOW + 10_000, value: null }], 10);
    expect(times).toEqual([NOW / 1000, NOW / 1000 + 10]);
    expect(column(({ value }) => value)).toEqual([1, null]);
  });

  it("break the line where nothing was heard for long", () => {
    const { times, column } = columns(at(0, 10, 20, 120, 130), 10);
    expect(times).toHaveLength(6);
    expect(column(() => 1)).toEqual([1, 1, 1, null, 1, 1]);
    expect([...times].sort((a, b) => a - b)).toEqual(times);
  });

  it("do not take a slow pulse for a gap", () => {
    const { times, longest } = columns(at(0, 60, 120, 180), 10);
    expect(times).toHaveLength(4);
    expect(longest).toBe(180);
  });

  it("are empty of nothing", () => {
    expect(columns([], 10).times).toEqual([]);
  });
});
