import { describe, expect, it } from "vitest";
import { Finder, formatAnchor, headOf, looksLikeError, parseAnchor, piecesOf, Writer } from "./lines.ts";
import { compare, next, type Entry } from "./log.ts";

const output = (at: string, text: string): Entry => ({ kind: "output", at, time: 0, stderr: false, text });

describe("a cursor", () => {
  it("is ordered by attempt, then by number", () => {
    const cursors = ["1-10", "2-0", "1-9", "0", "10-1", "1-0"];
    expect(cursors.toSorted(compare)).toEqual(["0", "1-0", "1-9", "1-10", "2-0", "10-1"]);
    expect(next("1-9")).toBe("1-10");
  });
});

describe("an anchor", () => {
  it("is read as it was written", () => {
    for (const text of ["1-42", "1-42.3"]) expect(formatAnchor(parseAnchor(text)!)).toBe(text);
    expect(parseAnchor("1-42.0")).toEqual({ at: "1-42", line: 0 });
  });
  it("is none where an address says something else", () => {
    for (const text of [null, "", "end", "1", "1-", "1-2.", "1-2.x", "-1-2", "1-99999999999999999999"]) {
      expect(parseAnchor(text)).toBeNull();
    }
  });
});

describe("pieces", () => {
  it("hold all of an entry, in parts that say how many lines are before them", () => {
    const text = "x\n".repeat(1000) + "the rest";
    const pieces = piecesOf(output("1-1", text), false);
    expect(pieces.map((piece) => piece.text).join("")).toBe(text);
    expect(pieces.map((piece) => piece.line)).toEqual([0, 256, 512, 768]);
    expect(pieces.reduce((lines, piece) => lines + piece.lines, 0)).toBe(1000);
  });
  it("say where an attempt begins, and of a container also where it ends", () => {
    const words = (entry: Entry, isContainer: boolean) => piecesOf(entry, isContainer).map((piece) => piece.text);
    const began = (at: string, attempt: number): Entry => ({ kind: "began", at, time: 0, attempt, workerId: "w" });
    const ended: Entry = { kind: "ended", at: "1-9", time: 0, exitCode: 1, reason: "exit", message: null };
    expect(words(began("1-0", 1), false)).toEqual([]);
    expect(words(began("2-0", 2), false)).toEqual(["attempt 2 on w"]);
    expect(words(began("2-0", 2), true)).toEqual(["start 2"]);
    expect(words(ended, false)).toEqual([]);
    expect(words(ended, true)).toEqual(["ended: exit code 1"]);
    expect(words({ ...ended, exitCode: null, reason: "worker_lost" }, true)).toEqual(["ended: its worker was lost"]);
  });
  it("say why a job went back into the queue, in the timeline's words", () => {
    const rule: Entry = { kind: "requeued", at: "1-9", time: 0, reason: "worker_lost" };
    expect(piecesOf(rule, false).map((piece) => piece.text)).toEqual(["back in the queue: its worker was lost"]);
  });
});

describe("what is written", () => {
  it("is what the program wrote, and a rule has a line of its own", () => {
    const writer = new Writer(false);
    const rule: Entry = { kind: "requeued", at: "1-2", time: 0, reason: null };
    const said = [output("1-1", "half"), rule, output("2-1", "a line\n"), rule].flatMap((entry) =>
      piecesOf(entry, false).map((piece) => writer.write(piece)),
    );
    expect(said[0]).toBe("half");
    expect(said[1]).toMatch(/^\r\n.*back in the queue.*\r\n$/);
    expect(said[3]).not.toMatch(/^\r\n/);
  });
  it("has a time before each line, however the line is cut", () => {
    const writer = new Writer(true);
    const pieces = [output("1-1", "a\nb"), output("1-2", "c\n"), output("1-3", "d")].flatMap((entry) =>
      piecesOf(entry, false),
    );
    const said = pieces.map((piece) => writer.write(piece)).join("");
    // eslint-disable-next-line no-control-regex
    expect(said.replaceAll(/\x1b\[3m[\d:.]+\x1b\[23m /g, "@")).toBe("@a\n@bc\n@d");
  });
});

describe("a finder", () => {
  const isError = (line: string) => line.includes("error");
  it("finds the first line, which may reach over entries and pages", () => {
    const finder = new Finder(isError);
    expect(finder.first([output("1-1", "fine\nan er")])).toBeNull();
    expect(finder.first([output("1-2", "ror here\nerror\n")])).toEqual({ at: "1-1", line: 1 });
  });
  it("finds a line that has not ended", () => {
    const finder = new Finder(isError);
    expect(finder.first([output("1-1", "error")])).toBeNull();
    expect(finder.rest()).toEqual({ at: "1-1", line: 0 });
  });
  it("finds the last line before a place, also over the edge of a page", () => {
    const entries = [output("1-1", "error\nan er"), output("1-2", "ror\n\nerror\n")];
    const finder = () => new Finder(isError);
    expect(finder().last(entries, { at: "9-0", line: 0 })).toEqual({ at: "1-2", line: 2 });
    expect(finder().last(entries, { at: "1-2", line: 2 })).toEqual({ at: "1-1", line: 1 });
    expect(finder().last([entries[0]!, ...headOf([entries[1]!])], { at: "1-2", line: 0 })).toEqual({
      at: "1-1",
      line: 1,
    });
  });
  it("sees a line as it is read: without colours, and without what was written over", () => {
    const first = (text: string, matches: (line: string) => boolean) =>
      new Finder(matches).first([output("1-1", "fine\n"), ...[...text].map((part, k) => output(`1-${k + 2}`, part))]);
    const says = (words: string) => (line: string) => line.includes(words);
    expect(first("\x1b[1;31merror[E0308]\x1b[0m: mismatched types\n", looksLikeError)).toEqual({ at: "1-2", line: 0 });
    expect(first("needle \x1b[31mred\x1b[0m\n", says("needle red"))).toEqual({ at: "1-2", line: 0 });
    expect(first("error so far\r\x1b[2Kall is well\n", looksLikeError)).toBeNull();
    expect(first("\x1b]0;error\x07all is well\n", looksLikeError)).toBeNull();
  });
  it("tells what went wrong from a count of what did not", () => {
    expect(looksLikeError("error[E0308]: mismatched types")).toBe(true);
    expect(looksLikeError("thread 'main' panicked at src/main.rs")).toBe(true);
    expect(looksLikeError("test result: ok. 12 passed; 0 failed")).toBe(false);
    expect(looksLikeError("terrorist")).toBe(false);
  });
});
