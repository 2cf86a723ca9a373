// Who is signed in on this device, and the HTTP routes that take their token.
//
// The token lives in this tab, or on this device where that was asked for; it is in no address and in no log. Tabs that
// share a device's token are signed in and out together. Whatever was known is forgotten with it.
import { containers, jobCounts, workers } from "./feeds.svelte.ts";
import { link, Refusal, type Credentials } from "./link.svelte.ts";
import { traffic } from "./traffic.svelte.ts";

const KEY = "gangline.token";

class Session {
  /** The tab's own goes first: what tabs share may be of no use any more. */
  #token = $state<string | null>(sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY));
  #keep = sessionStorage.getItem(KEY) === null && localStorage.getItem(KEY) !== null;
  #once: Credentials | null = null;
  /** What the connection rests on: another tab may have a newer one. */
  #used: string | null = null;
  /** Why the last attempt to sign in failed. */
  error = $state<Refusal | null>(null);
  busy = $state(false);
  /** Whether there is something to sign out of. An open server asks nobody who they are. */
  readonly hasToken = $derived(this.#token !== null);

  begin(): void {
    link.credentials = () => {
      this.#used = this.#token;
      return this.#once ?? (this.#token === null ? null : { token: this.#token });
    };
    link.renew = () => this.#renew();
    link.signedIn = (identity) => {
      this.busy = false;
      this.error = null;
      if (identity.token) this.#store(identity.token);
      else if (this.#once && "token" in this.#once) this.#store(this.#once.token);
      this.#once = null;
    };
    link.refused = (error) => {
      const typed = this.#once !== null;
      this.busy = false;
      this.error = typed ? error : null;
      this.#once = null;
      if (!typed) this.#refused();
    };
    // What is there now counts: events come late, and what they tell of may have been replaced since.
    addEventListener("storage", ({ key }) => {
      if (key === KEY) void this.#changedElsewhere(localStorage.getItem(KEY));
    });
    link.start();
  }

  /** Goes in as nobody in particular, where the server is open. */
  enter(): void {
    link.start();
  }

  /** Signs in; `keep`: also after the tab is closed. The link's state and `error` say how it went. */
  signIn(credentials: Credentials, keep: boolean): void {
    this.busy = true;
    this.error = null;
    this.#keep = keep;
    this.#once = credentials;
    link.start();
  }

  /** Ends the sign-in on the server, too, where it rests on a password. */
  async signOut(): Promise<void> {
    try {
      await this.fetch("api/auth/logout", { method: "POST" });
    } catch {
      // An API token cannot be signed out, and a dispatcher that is away cannot be told: this device forgets it anyhow.
    }
    this.#forget();
    link.signOut(null);
  }

  /** Goes on with another token of the same account. */
  replace(token: string): void {
    this.#store(token);
  }

  /** A request to the dispatcher over HTTP, with the token.
   * @throws Refusal, or AbortError */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.#token !== null) headers.set("Authorization", `Bearer ${this.#token}`);
    let response: Response;
    try {
      response = await fetch(new URL(path, document.baseURI), { ...init, headers });
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new Refusal({ code: "disconnected", message: "The dispatcher does not answer.", retry: true });
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }

  /** What was kept is of no use any more, unless there is something newer. */
  #refused(): void {
    const newest = this.#keep ? localStorage.getItem(KEY) : this.#token;
    if (newest !== null && newest !== this.#used) {
      this.#token = newest;
      return link.start();
    }
    // What tabs share stays: one of them may just have changed the password, and would be signed out with its old token
    // before it has put the new one there. This tab hears of that one then.
    this.#token = null;
    sessionStorage.removeItem(KEY);
    this.#forgetWhatWasSeen();
    // A token that is of no use any more is not needed there.
    if (link.hello?.auth === "open") link.start();
  }

  async #renew(): Promise<string | null> {
    let response: Response;
    try {
      response = await this.fetch("api/auth/session");
    } catch (error) {
      if (error instanceof Refusal && error.retry) throw error;
      return null; // An API token: nothing but its end comes after it.
    }
    const token = ((await response.json()) as { access_token?: unknown }).access_token;
    return typeof token === "string" ? token : null;
  }

  #store(token: string): void {
    this.#token = token;
    this.#used = token;
    const [kept, other] = this.#keep ? [localStorage, sessionStorage] : [sessionStorage, localStorage];
    kept.setItem(KEY, token);
    other.removeItem(KEY);
  }

  #forget(): void {
    this.#token = null;
    localStorage.removeItem(KEY);
    sessionStorage.removeItem(KEY);
    this.#forgetWhatWasSeen();
  }

  #forgetWhatWasSeen(): void {
    traffic.clear();
    for (const feed of [workers, containers, jobCounts]) feed.forget();
  }

  /** Another tab has signed in or out, or has a fresh token. */
  async #changedElsewhere(token: string | null): Promise<void> {
    if (token === this.#token) return;
    if (token === null) {
      if (!this.#keep || this.#token === null) return;
      this.#token = null;
      this.#forgetWhatWasSeen();
      link.signOut("You have signed out in another tab.");
    } else if (this.#keep || this.#token === null) {
      this.#keep = true;
      this.#token = token;
      if (link.state === "signedOut") return link.start();
      try {
        if (link.state === "live") await link.goOnWith(token);
      } catch (error) {
        if (!(error instanceof Refusal) || error.code === "disconnected") return;
        // It is another account's.
        this.#forgetWhatWasSeen();
        link.start();
      }
    }
  }
}

/** What an HTTP error says, in whichever family's shape. */
async function refusal(response: Response): Promise<Refusal> {
  const retry = response.status >= 500 || response.status === 429;
  let message = `The dispatcher answered ${response.status}.`;
  let field: string | null = null;
  try {
    const body = (await response.json()) as { message?: unknown; field?: unknown; error?: unknown };
    const said = typeof body.error === "object" && body.error !== null ? (body.error as typeof body) : body;
    const words = typeof said.error === "string" ? said.error : said.message;
    if (typeof words === "string") message = words;
    if (typeof said.field === "string") field = said.field;
  } catch {
    // No JSON: the status is all there is.
  }
  return new Refusal({ code: response.status === 404 ? "not_found" : "internal", message, field, retry });
}

export const session = new Session();
