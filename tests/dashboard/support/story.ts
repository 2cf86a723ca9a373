// What every story begins with: a dispatcher with a worker, and a browser that is watched.
import { test as base, expect, type Locator, type Page } from "@playwright/test";
import { Peer } from "./peer";
import { Server } from "./server";

export { expect, type Locator, type Page };

interface Fixtures {
  /** The name by which the browser knows the dispatcher. */
  host: string;
  /** A dispatcher with one worker. */
  server: Server;
  /** An administrator's connection, beside the page. */
  admin: Peer;
  /** What is seen in any page of the story that should not be. */
  misdeeds: string[];
}

export const test = base.extend<Fixtures>({
  host: ["127.0.0.1", { option: true }],
  server: async ({}, use, info) => {
    const server = new Server();
    try {
      await server.start();
      await server.worker("lena", "--slots", "4");
      await use(server);
    } finally {
      if (info.status !== info.expectedStatus) {
        for (const name of ["dispatcher", "lena"]) await info.attach(name, { body: server.words(name) });
      }
      await server.end();
    }
  },
  admin: async ({ server }, use) => {
    const admin = await server.admin();
    await use(admin);
    admin.close();
  },
  baseURL: async ({ server, host }, use) => use(server.origin.replace("127.0.0.1", host)),
  // Whatever a story is about, its pages load nothing from elsewhere, break no rule of their policy and throw nothing.
  misdeeds: [
    async ({ context, baseURL }, use) => {
      const seen: string[] = [];
      context.on("request", (request) => {
        const url = new URL(request.url());
        if (url.protocol !== "blob:" && url.origin !== baseURL) seen.push(`asked for ${url}`);
      });
      context.on("weberror", (error) => seen.push(`threw ${error.error().stack}`));
      context.on("console", (message) => {
        if (!["error", "warning"].includes(message.type())) return;
        // The browser's own words about answers that are no 200, dispatchers that are away, and pages without TLS.
        if (/^(Failed to load resource|WebSocket connection to|The Cross-Origin-Opener-Policy)/.test(message.text()))
          return;
        seen.push(`said ${message.text()}`);
      });
      await use(seen);
      expect(seen).toEqual([]);
    },
    { auto: true },
  ],
});

/** Opens a place of the dashboard, `/jobs` for one, with a token that this tab has. */
export async function visit(page: Page, token: string, place: string): Promise<void> {
  await page.addInitScript((token) => sessionStorage.setItem("gangline.token", token), token);
  await page.goto(`/#${place}`);
}

/** What a dispatcher says to a page is on its way in here. */
interface Withheld {
  /** Waits until the dispatcher has said something like this; it is there, or kept back. */
  said(like: RegExp): Promise<void>;
  /** Lets go what is kept back. */
  letGo(): void;
}

/** Keeps from a page what is like this, until it is let go; what else is said goes past it. Before the page is opened. */
export async function withhold(page: Page, like: RegExp): Promise<Withheld> {
  let letGo = () => {};
  const free = new Promise<void>((resolve) => (letGo = resolve));
  const heard: string[] = [];
  await page.routeWebSocket(/\/ws$/, (socket) => {
    const dispatcher = socket.connectToServer();
    dispatcher.onMessage(async (text) => {
      heard.push(String(text));
      if (like.test(String(text))) await free;
      socket.send(text);
    });
  });
  const said = (like: RegExp) => expect.poll(() => heard.some((text) => like.test(text))).toBe(true);
  return { said, letGo };
}

/** Waits until a page has what it shows. */
export async function settled(page: Page): Promise<void> {
  await expect(page.getByRole("main").getByRole("heading", { level: 1 })).toBeVisible();
  await expect(page.locator("[aria-busy=true]")).toHaveCount(0);
  // What may be out of date is greyed until it is known again.
  await expect(page.locator(".stale")).toHaveCount(0);
  await expect(page.getByText(/^(Loading|Connecting|Catching up)…$/)).toHaveCount(0);
}

/** Signs in by hand. */
export async function signIn(page: Page, account: string, password: string): Promise<void> {
  await page.goto("/");
  await page.getByLabel("Account or email").fill(account);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** Says what was measured. */
export function figures(text: string): void {
  console.log(`      ${text}`);
}

/** Bytes in words. */
export const mb = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
