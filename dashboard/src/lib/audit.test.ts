import { expect, it } from "vitest";
import { ACTIONS, actionWords, targetPlace } from "./audit.ts";

it("says every action in words, none twice", () => {
  const said = ACTIONS.map(actionWords);
  expect(new Set(said).size).toBe(said.length);
});

it("leads to what is still there to be seen", () => {
  expect(targetPlace({ action: "jobCancel", target: "job-1-ab" })).toBe("#/jobs/job-1-ab");
  expect(targetPlace({ action: "drain", target: "a/b" })).toBe("#/machines/a%2Fb");
  expect(targetPlace({ action: "containerRemove", target: "ctr-1-ab" })).toBeNull();
  expect(targetPlace({ action: "userAdd", target: "ada" })).toBeNull();
  expect(targetPlace({ action: "login", target: null })).toBeNull();
});
