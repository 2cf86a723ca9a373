import { describe, expect, it } from "vitest";
import { best, fits, isIn } from "./fuzzy.ts";

const names = ["Overview", "Jobs", "Machines", "New job", "Theme: dark", "Sign out", "Machine gpu-box-1"];
const find = (typed: string) => best(typed, names, (name) => name);

describe("the palette's search", () => {
  it("keeps everything in its order while nothing is typed", () => {
    expect(find("")).toEqual(names);
  });

  it("prefers beginnings of words", () => {
    expect(find("job")[0]).toBe("Jobs");
    expect(find("dark")[0]).toBe("Theme: dark");
    expect(find("gpu")).toEqual(["Machine gpu-box-1"]);
  });

  it("takes letters that lie apart, but in their order only", () => {
    expect(find("nj")[0]).toBe("New job");
    expect(find("sgnt")).toEqual(["Sign out"]);
    expect(fits("zz", "Jobs")).toBeNull();
    expect(fits("boj", "Jobs")).toBeNull();
  });

  it("tells what was typed from its letters", () => {
    expect([isIn(" Nig", "the nightly build"), isIn("tb", "the build")]).toEqual([true, false]);
  });
});
