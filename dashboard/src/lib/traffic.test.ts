import { describe, expect, it } from "vitest";
import { withoutSecrets } from "./traffic.svelte.ts";

describe("frames that are kept", () => {
  it("hold no token and no password, wherever they stand", () => {
    const secrets = [
      { type: "auth", data: { token: "eyJ.a.b", password: "hunter2" } },
      { type: "auth", data: { opt: "passwordChange", present: "hunter2", password: "hunter2" } },
      { type: "typo", data: { opt: "login", password: "hunter2" } },
      { type: "auth", data: { opt: "tokenRevoke", id: "gl_t8Qm3xYp_hunter2" } },
      { type: "auth", data: { opt: "token", token: "gl_t8Qm3xYp_hunter2", record: { id: "t8Qm3xYp" } } },
    ];
    for (const frame of secrets) {
      const text = withoutSecrets(frame);
      expect(text).not.toMatch(/hunter2|eyJ/);
      expect(text).toContain(frame.type);
    }
  });

  it("are otherwise as they were", () => {
    const frame = { type: "auth", id: 1, data: { opt: "ok", account: "ada", expiresAt: null, token: null } };
    expect(withoutSecrets(frame)).toBe(JSON.stringify(frame));
  });
});
