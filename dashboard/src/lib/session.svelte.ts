// Who is signed in on this device, and the HTTP routes that take their token.
//
// The token lives in this tab, or on this device where that was asked for; it is in no address and in no log.
import { link, Refusal, type Credentials } from "./link.svelte.ts";

const KEY = "gangline.token";

class Session {
  #token = $state<string | null>(localStorage.getItem(KEY) ?? sessionStorage.getItem(KEY));
  #keep = localStorage.getItem(KEY) !== null;
  #once: Credentials | null = null;
  /** Why the last attempt to sign in failed. */
  error = $state<Refusal | null>(null);
  busy = $state(false);

  begin(): void {
    link.credentials = () => this.#once ?? (this.#token === null ? null : { token: this.#token });
    link.renew = () => this.#renew();
    link.signedIn = (identity) => {
      this.busy = false;
      this.error = null;
      if (identity.token) this.#store(identity.token);
      else if (this.#once && "token" in this.#once) this.#store(this.#once.token);
      this.#once = null;
    };
    link.refused = (error) => {
      this.busy = false;
      this.error = this.#once ? error : null;
      this.#once = null;
      this.#store(null);
    };
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
    this.#store(null);
    link.signOut(null);
  }

  /** Goes on with another token of the same account. */
  replace(token: string): void {
    this.#store(token);
  }

  /** A request to the dispatcher over HTTP, with the token.
   * @throws Refusal */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.#token !== null) headers.set("Authorization", `Bearer ${this.#token}`);
    let response: Response;
    try {
      response = await fetch(new URL(path, document.baseURI), { ...init, headers });
    } catch {
      throw new Refusal({ code: "disconnected", message: "The dispatcher does not answer.", retry: true });
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }

  async #renew(): Promise<string | null> {
    try {
      const answer: unknown = await (await this.fetch("api/auth/session")).json();
      const token = (answer as { access_token?: unknown }).access_token;
      return typeof token === "string" ? token : null;
    } catch {
      return null;
    }
  }

  #store(token: string | null): void {
    this.#token = token;
    localStorage.removeItem(KEY);
    sessionStorage.removeItem(KEY);
    if (token !== null) (this.#keep ? localStorage : sessionStorage).setItem(KEY, token);
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
