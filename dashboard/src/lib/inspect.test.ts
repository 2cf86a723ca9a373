import { describe, expect, it } from "vitest";
import { laidOut, sifted, typedFrame } from "./inspect.ts";
import type { Passed } from "./traffic.svelte.ts";

const passed = (n: number, sent: boolean, type: string, text: string): Passed => ({
  ...{ n, time: 0, sent, type, opt: null, length: text.length, text },
});
const FRAMES = [
  passed(1, true, "auth", `{"type":"auth"}`),
  passed(2, false, "auth", `{"account":"Ada"}`),
  passed(3, false, "job", `{"text":"ada"}`),
];
const numbers = (frames: readonly Passed[]) => frames.map(({ n }) => n);

describe("the frames inspector", () => {
  it("shows the newest first, and only what is looked for", () => {
    expect(numbers(sifted(FRAMES, { way: null, type: null, text: "" }))).toEqual([3, 2, 1]);
    expect(numbers(sifted(FRAMES, { way: "received", type: null, text: " ADA " }))).toEqual([3, 2]);
    expect(numbers(sifted(FRAMES, { way: "sent", type: "auth", text: "" }))).toEqual([1]);
  });

  it("lays JSON out, and leaves the rest", () => {
    expect(laidOut(`{"a":[1]}`)).toBe(`{\n  "a": [\n    1\n  ]\n}`);
    expect(laidOut("(5000 characters, not kept)")).toBe("(5000 characters, not kept)");
  });

  it("sends what can be a frame and nothing else", () => {
    expect(typedFrame(`{"type":"ping","id":"a"}`)).toEqual({ type: "ping", id: "a" });
    for (const text of ["", "[]", "3", "null", `{"data":{}}`, `{"type":"job","id":{}}`]) {
      expect(() => typedFrame(text), text).toThrow();
    }
  });
});
