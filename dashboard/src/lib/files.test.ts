import { describe, expect, it } from "vitest";
import { isZip, withoutTop, type Picked } from "./files.ts";

const files = (...paths: string[]): Picked[] => paths.map((path) => ({ path, file: new File([], path) }));
const paths = (picked: readonly Picked[]) => picked.map(({ path }) => path);

describe("files for a job", () => {
  it("lie at the top where one folder was chosen", () => {
    const { picked, top } = withoutTop(files("project/a.py", "project/src/b.py"));
    expect(top).toBe("project");
    expect(paths(picked)).toEqual(["a.py", "src/b.py"]);
  });

  it("stay where they are where there was more than one", () => {
    expect(withoutTop(files("a/x", "b/y")).top).toBeNull();
    expect(withoutTop(files("a", "a.py")).top).toBeNull();
    expect(paths(withoutTop(files("one.py")).picked)).toEqual(["one.py"]);
  });

  it("go as they are if they are one ZIP", () => {
    expect(isZip(files("a.ZIP"))).toBe(true);
    expect(isZip(files("a.zip", "b.zip"))).toBe(false);
    expect(isZip(files("zip"))).toBe(false);
  });
});
