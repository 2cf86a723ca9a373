// The audit log in words: who did what to what.
import type { AuditRecord } from "../protocol/frames.ts";

type Action = AuditRecord["action"];

/** What was done, and what it was done to. */
const WORDS: Record<Action, { words: string; to?: "account" | "token" | "session" | "worker" | "job" | "container" }> =
  {
    login: { words: "signed in" },
    loginFailed: { words: "failed to sign in" },
    logout: { words: "signed out" },
    sessionEnd: { words: "ended the session", to: "session" },
    register: { words: "registered" },
    profile: { words: "changed the profile" },
    photo: { words: "changed the picture" },
    passwordChange: { words: "changed the password" },
    userAdd: { words: "added the account", to: "account" },
    userRemove: { words: "removed the account", to: "account" },
    userPassword: { words: "set the password of", to: "account" },
    userRole: { words: "set the role of", to: "account" },
    tokenCreate: { words: "made the API token", to: "token" },
    tokenRevoke: { words: "revoked the API token", to: "token" },
    drain: { words: "drained the machine", to: "worker" },
    undrain: { words: "had the machine take jobs again:", to: "worker" },
    jobCancel: { words: "cancelled the job", to: "job" },
    containerCreate: { words: "made the container", to: "container" },
    containerStart: { words: "started the container", to: "container" },
    containerStop: { words: "stopped the container", to: "container" },
    containerRestart: { words: "restarted the container", to: "container" },
    containerKill: { words: "killed the container", to: "container" },
    containerRemove: { words: "removed the container", to: "container" },
    containerExec: { words: "ran a program in the container", to: "container" },
  };

export const ACTIONS = Object.keys(WORDS) as Action[];

/** "cancelled the job". An action that this page does not know yet is said as it came. */
export function actionWords(action: Action): string {
  return WORDS[action]?.words ?? action;
}

/** Whether saying what it was done to adds anything. */
export function namesTarget({ action, target, account }: AuditRecord): boolean {
  return Boolean(target) && target !== account && WORDS[action]?.to !== undefined;
}

/** Where what it was done to is shown; null: nowhere. */
export function targetPlace({ action, target }: Pick<AuditRecord, "action" | "target">): string | null {
  if (!target) return null;
  switch (WORDS[action]?.to) {
    case "worker":
      return `#/machines/${encodeURIComponent(target)}`;
    case "job":
      return `#/jobs/${encodeURIComponent(target)}`;
    case "container":
      return action === "containerRemove" ? null : `#/containers/${encodeURIComponent(target)}`;
    case "account":
    case "token":
    case "session":
    case undefined:
      return null;
  }
}
