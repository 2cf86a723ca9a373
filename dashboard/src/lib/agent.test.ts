import { expect, it } from "vitest";
import { programOf } from "./agent.ts";

it("names browsers and other programs as people do", () => {
  const chrome =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
  expect(programOf(chrome)).toBe("Chrome 140 on Linux");
  expect(programOf(`${chrome} Edg/140.0.0.0`)).toBe("Edge 140 on Linux");
  expect(programOf("Mozilla/5.0 (Windows NT 10.0; rv:141.0) Gecko/20100101 Firefox/141.0")).toBe(
    "Firefox 141 on Windows",
  );
  expect(
    programOf("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Mobile/15E148 Safari/604.1"),
  ).toBe("Safari 19 on iOS");
  expect(programOf("curl/8.5.0")).toBe("curl 8.5.0");
  expect(programOf(null)).toBe("A program that does not say");
});
