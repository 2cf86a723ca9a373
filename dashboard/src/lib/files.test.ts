import { describe, expect, it } from "vitest";
import { bringsFiles, dropped, isZip, shared, withoutTop, type Picked } from "./files.ts";

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

  it("are taken from what was dropped, whether they lie in a file system or not", async () => {
    const entry = (path: string) => ({
      isFile: true,
      fullPath: path,
      file: (give: (file: File) => void) => give(new File([], path)),
    });
    const items = [
      { kind: "file", webkitGetAsEntry: () => entry("/folder/a.py"), getAsFile: () => new File([], "a.py") },
      { kind: "file", webkitGetAsEntry: () => null, getAsFile: () => new File([], "mail.txt") },
      { kind: "string", webkitGetAsEntry: () => null, getAsFile: () => null },
    ];
    const transfer = { items, types: ["Files", "text/plain"] } as unknown as DataTransfer;
    expect(paths(await dropped(transfer)).sort()).toEqual(["folder/a.py", "mail.txt"]);
    expect(bringsFiles({ dataTransfer: transfer } as DragEvent)).toBe(true);
    const text = { items: [], types: ["text/plain"] } as unknown as DataTransfer;
    expect(bringsFiles({ dataTransfer: text } as DragEvent)).toBe(false);
  });

  it("are not taken if two would be one", () => {
    expect(shared(files("a.py", "src/a.py"))).toBeNull();
    expect(shared(files("a.py", "b.py", "a.py"))).toBe("a.py");
  });

  it("go as they are if they are one ZIP", () => {
    expect(isZip(files("a.ZIP"))).toBe(true);
    expect(isZip(files("a.zip", "b.zip"))).toBe(false);
    expect(isZip(files("zip"))).toBe(false);
  });
});
