import { describe, expect, it } from "vitest";
import { seenOf } from "./plain.ts";

describe("what is seen of a line", () => {
  it("is all of it where nothing steers the terminal", () => {
    expect(seenOf("größer, 漢字, 🚀\tand a tab")).toBe("größer, 漢字, 🚀\tand a tab");
  });
  it("is not its colours, links, titles and other sequences", () => {
    const lines: [string, string][] = [
      ["\x1b[1;31merror[E0308]\x1b[0;1m: mismatched types\x1b[0m", "error[E0308]: mismatched types"],
      ["needle \x1b[38:2::255:0:0mred\x1b[m", "needle red"],
      ["\x1b]8;;https://example.org\x1b\\a link\x1b]8;;\x07 ends", "a link ends"],
      ["\x1b]0;error in a title\x07fine", "fine"],
      ["\x1b[>4;2m\x1b[?25l\x1b[!p\x1b[2 qshown\x1b(B\x1b=\x1b[?25h", "shown"],
      ["\x1bP1$r0m\x1b\\a device's \x1b_string\x1b\\", "a device's "],
      ["\x9b31mone byte\x9b0m", "one byte"],
      ["cut off \x1b[1;3", "cut off 1;3"],
    ];
    for (const [written, seen] of lines) expect(seenOf(written)).toBe(seen);
  });
  it("is not what was written over or erased", () => {
    const lines: [string, string][] = [
      ["ends as a terminal's lines do\r", "ends as a terminal's lines do"],
      ["10 %\r50 %\r100 % done", "100 % done"],
      ["error so far: none\rok\x1b[K", "ok"],
      ["failed\x1b[2K\rpassed", "passed"],
      ["fetching\x1b[2K\x1b[1Gdone", "done"],
      ["long words\rshort", "shortwords"],
      ["ab\b\bcd", "cd"],
      ["ab\x1b[1K\x1b[5Gc", "    c"],
    ];
    for (const [written, seen] of lines) expect(seenOf(written)).toBe(seen);
  });
  it("is known soon, whatever was written", () => {
    const begun = performance.now();
    for (const part of ["\x1b]", "\x1b[", "x\r", "\x1b[1;", "\x1b[99999999G.", "\x1b[1K", "\x1bP\x1b"]) {
      seenOf(part.repeat(Math.ceil((64 * 1024) / part.length)));
    }
    seenOf("x".repeat(32_000) + "\x1b[1K".repeat(8_000));
    seenOf("\x1b[65536Gx\x1b[2K".repeat(4_000));
    seenOf("x".repeat(500_000) + "\x1b[1K".repeat(125_000));
    expect(performance.now() - begun).toBeLessThan(2000);
  });
});
