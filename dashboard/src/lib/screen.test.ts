import { Terminal as Headless } from "@xterm/headless";
import type { Terminal } from "@xterm/xterm";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { compare, front, type Entry, type Follower, type Log, type Page } from "./log.ts";
import { Screen, SCROLLBACK } from "./screen.svelte.ts";

/** Numbers that are the same in each run, so that a failure can be seen again. */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A log that is kept as the dispatcher keeps one, and grows. */
class Script implements Log {
  entries: Entry[] = [];
  lines = 0;
  #followers = new Set<(entry: Entry) => void>();
  reads = 0;

  /** Writes the next `lines` lines, each with its number, in entries of about `size` characters, cut anywhere. */
  write(lines: number, size: number, wide = 0): void {
    let text = "";
    for (let k = 0; k < lines; k++) text += `${this.lines++}${" x".repeat(wide)}\n`;
    for (let from = 0; from < text.length; from += size) this.#add(text.slice(from, from + size));
  }

  #add(text: string): void {
    const entry: Entry = { kind: "output", at: `1-${this.entries.length + 1}`, time: 0, stderr: false, text };
    this.entries.push(entry);
    for (const hear of [...this.#followers]) hear(entry);
  }

  async read(where: { after: string } | { before: string }, maxBytes: number): Promise<Page> {
    this.reads++;
    await new Promise((resolve) => setTimeout(resolve));
    const found: Entry[] = [];
    let bytes = 0;
    const takes = (entry: Entry) => {
      const size = entry.kind === "output" ? entry.text.length : 0;
      if (found.length > 0 && bytes + size > maxBytes) return false;
      bytes += size;
      return true;
    };
    if ("after" in where) {
      const after = this.entries.filter((entry) => compare(entry.at, where.after) > 0);
      for (const entry of after)
        if (takes(entry)) found.push(entry);
        else break;
      return { entries: found, more: found.length < after.length };
    }
    const { before } = where;
    const older = before === "end" ? this.entries : this.entries.filter((entry) => compare(front(entry), before) < 0);
    for (const entry of older.toReversed())
      if (takes(entry)) found.unshift(entry);
      else break;
    return { entries: found, more: found.length < older.length };
  }

  follow(after: string, follower: Follower): () => void {
    const hear = (entry: Entry) => compare(entry.at, after) > 0 && follower.entry(entry);
    for (const entry of this.entries) hear(entry);
    this.#followers.add(hear);
    return () => this.#followers.delete(hear);
  }
}

let term: Headless;
let script: Script;
let screen: Screen;

beforeEach(() => {
  vi.stubGlobal("requestAnimationFrame", (act: () => void) => setTimeout(act));
  term = new Headless({ cols: 40, rows: 20, scrollback: SCROLLBACK, convertEol: true, allowProposedApi: true });
  script = new Script();
  const terminal = Object.assign(term, { hasSelection: () => false }) as unknown as Terminal;
  screen = new Screen(terminal, script, { isContainer: false, stamps: false });
});
afterEach(() => {
  screen.dispose();
  term.dispose();
  vi.unstubAllGlobals();
});

/** Waits until nothing more is drawn or read. */
async function settled(): Promise<void> {
  let still = 0;
  let before = "";
  for (let turn = 0; still < 5 && turn < 5000; turn++) {
    await new Promise((resolve) => setTimeout(resolve));
    await new Promise<void>((resolve) => term.write("", resolve));
    const { length, viewportY } = term.buffer.active;
    const now = `${length} ${viewportY} ${script.reads} ${screen.loading} ${screen.behind}`;
    still = now === before && !screen.loading ? still + 1 : 0;
    before = now;
  }
}

/** The whole lines in the terminal, and the one that is at the top of what is seen. */
function shown(): { lines: string[]; top: string } {
  const buffer = term.buffer.active;
  const lines: string[] = [];
  let top = "";
  for (let row = 0; row < buffer.length; row++) {
    const line = buffer.getLine(row)!;
    const text = line.translateToString(true);
    if (line.isWrapped && lines.length > 0) lines.push(lines.pop()! + text);
    else if (!line.isWrapped) lines.push(text);
    if (row === buffer.viewportY) top = lines.at(-1) ?? "";
  }
  return { lines: lines.filter((line) => line !== ""), top };
}

/** What is shown is a part of the log without holes, and nothing is there twice. The first and the last line may be cut. */
function expectContiguous(): void {
  const { lines } = shown();
  const numbers = lines.slice(1, -1).map((line) => Number.parseInt(line, 10));
  const begin = numbers[0] ?? 0;
  const hole = numbers.find((number, k) => number !== begin + k);
  expect(hole).toBeUndefined();
  const end = Number.parseInt(lines.at(-1) ?? "", 10);
  if (numbers.length > 0 && !Number.isNaN(end)) expect(String(begin + numbers.length)).toContain(String(end));
}

const first = () => Number.parseInt(shown().lines[0]!, 10);
const last = () => Number.parseInt(shown().lines.at(-1)!, 10);

describe("a screen", { timeout: 60_000 }, () => {
  it("shows the end of a log and what is written next", async () => {
    script.write(100, 37);
    await screen.toEnd();
    script.write(3, 5);
    await settled();
    expectContiguous();
    expect([first(), last(), screen.following, screen.atStart]).toEqual([0, 102, true, true]);
  });

  it.each([7, 300, 65_536])("comes to the beginning by scrolling up, with entries of %i characters", async (size) => {
    script.write(size < 100 ? 12_000 : 40_000, size);
    await screen.toEnd();
    await settled();
    for (let step = 0; step < 400 && !(screen.atStart && screen.atTop); step++) {
      const before = Number.parseInt(shown().top, 10);
      term.scrollLines(-1500);
      await settled();
      expectContiguous();
      // Reading what is older must not move what one looks at.
      const after = Number.parseInt(shown().top, 10);
      expect(before - after).toBeGreaterThanOrEqual(0);
      expect(before - after).toBeLessThanOrEqual(1501);
    }
    expect([first(), shown().top]).toEqual([0, "0"]);
  });

  it("comes back to the end by scrolling down, and follows there", async () => {
    script.write(30_000, 4000);
    await screen.toEnd();
    await screen.toStart();
    await settled();
    expect(shown().top).toBe("0");
    for (let step = 0; step < 400 && !screen.following; step++) {
      const before = Number.parseInt(shown().top, 10);
      term.scrollLines(300);
      await settled();
      expectContiguous();
      expect(Number.parseInt(shown().top, 10) - before).toBeLessThanOrEqual(300);
    }
    expect([screen.following, last()]).toEqual([true, 29_999]);
    script.write(1, 100);
    await settled();
    expect(last()).toBe(30_000);
  });

  it("leaves out what comes faster than it can be drawn, and has it when one scrolls up", async () => {
    await screen.toEnd();
    script.write(500_000, 65_536);
    await settled();
    expectContiguous();
    expect([last(), screen.following]).toEqual([499_999, true]);
    const oldest = first();
    for (let step = 0; step < 50 && first() >= oldest; step++) {
      term.scrollLines(-term.buffer.active.length);
      await settled();
    }
    expectContiguous();
    expect(first()).toBeLessThan(oldest);
  });

  it("scrolls on from where it goes to when somebody scrolls before it is there", async () => {
    script.write(30_000, 500);
    await screen.toEnd();
    const place = script.entries[170]!;
    const meanwhile = term.onLineFeed(() => {
      meanwhile.dispose();
      screen.scroll(-100);
    });
    await screen.goTo({ at: place.at, line: 0 });
    const row = screen.rowOf({ at: place.at, line: 0 })!;
    expect(term.buffer.active.viewportY).toBe(row - Math.floor(term.rows / 3) - 100);
    await settled();
    expectContiguous();
  });

  it("holds still while it is paused, and goes on without a hole", async () => {
    script.write(200, 50);
    await screen.toEnd();
    await settled();
    await screen.pause(true);
    const before = shown().top;
    script.write(5000, 1000);
    await settled();
    expect(shown().top).toBe(before);
    expect(screen.behind).toBeGreaterThan(0);
    await screen.pause(false);
    await settled();
    expectContiguous();
    expect([last(), screen.behind, screen.following]).toEqual([5199, 0, true]);
  });

  it("keeps no more than it can show while it is paused, however much is written", async () => {
    script.write(200, 50);
    await screen.toEnd();
    await screen.pause(true);
    for (let k = 0; k < 20; k++) script.write(30_000, 65_536);
    await settled();
    term.scrollLines(-5);
    for (let step = 0; step < 30; step++) {
      term.scrollLines(400);
      await settled();
      expectContiguous();
    }
    await screen.pause(false);
    await settled();
    expectContiguous();
    expect(last()).toBe(600_199);
  });

  it("goes to a place, and names it as it was named", async () => {
    script.write(20_000, 3000);
    for (const at of ["1-1", "1-20", `1-${script.entries.length}`]) {
      const anchor = { at, line: 3 };
      await screen.goTo(anchor);
      await settled();
      expectContiguous();
      const row = screen.rowOf(anchor)!;
      const entry = script.entries.find((entry) => entry.at === at)!;
      const wanted = entry.kind === "output" ? entry.text.split("\n")[3] : "";
      expect(term.buffer.active.getLine(row)!.translateToString(true)).toBe(wanted);
      expect(screen.anchorOf(row)).toEqual(anchor);
    }
  });

  it("knows places also where lines are wrapped and the terminal is made narrower", async () => {
    script.write(3000, 900, 40);
    const anchor = { at: "1-100", line: 5 };
    await screen.goTo(anchor);
    await settled();
    const text = () => term.buffer.active.getLine(screen.rowOf(anchor)!)!.translateToString(true).split(" ")[0];
    const wanted = text();
    term.resize(23, 20);
    expect(text()).toBe(wanted);
    term.resize(200, 20);
    expect(text()).toBe(wanted);
    expect(screen.anchorOf(screen.rowOf(anchor)!)).toEqual(anchor);
  });

  it("finds a line far above, and the first one", async () => {
    script.write(60_000, 20_000);
    await screen.toEnd();
    await settled();
    const { signal } = new AbortController();
    const older = await screen.findOlder((line) => line.endsWith("777"), signal);
    await screen.goTo(older!);
    await settled();
    const at = (row: number) => term.buffer.active.getLine(row)!.translateToString(true);
    expect(Number(at(screen.rowOf(older!)!))).toBeLessThan(60_000 - 1000);
    expect(at(screen.rowOf(older!)!)).toMatch(/777$/);
    const found = await screen.findFirst((line) => line === "31234", signal);
    await screen.goTo(found!);
    await settled();
    expect(at(screen.rowOf(found!)!)).toBe("31234");
  });

  it.each([1, 2, 3, 4, 5, 6])("has no hole and nothing twice, whatever one does (%i)", async (seed) => {
    const roll = dice(seed);
    script.write(roll(30_000), 1 + roll(5000), roll(30));
    await screen.toEnd();
    for (let step = 0; step < 60; step++) {
      const acts: (() => unknown)[] = [
        () => term.scrollLines(-roll(4000)),
        () => term.scrollLines(roll(4000)),
        () => term.scrollLines(-roll(40)),
        () => script.write(roll(3000), 1 + roll(20_000), roll(30)),
        () => script.write(roll(300), 1 + roll(20)),
        () => void screen.toStart(),
        () => void screen.toEnd(),
        () => void screen.pause(roll(2) === 0),
        () => void screen.goTo({ at: `1-${1 + roll(script.entries.length)}`, line: roll(3) }),
        () => void screen.older(),
        () => term.resize(20 + roll(100), 5 + roll(40)),
      ];
      acts[roll(acts.length)]!();
      if (roll(3) > 0) await settled();
      if (roll(3) > 0) {
        await settled();
        expectContiguous();
      }
    }
    await screen.toEnd();
    await settled();
    expectContiguous();
    expect(last()).toBe(script.lines - 1);
  });
});
