// Where one is, in the address after `#`: `#/jobs/1564?at=1-42.3`. The server never sees it.

/** A place: the parts of its path, and what stands after `?`. */
export interface Place {
  path: readonly string[];
  query: URLSearchParams;
}

function read(): Place {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean);
  return { path: parts.map(unescape), query: new URLSearchParams(query) };
}

function unescape(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

class Router {
  place = $state.raw<Place>(read());

  constructor() {
    addEventListener("hashchange", () => (this.place = read()));
  }

  /** Goes to a path such as `/jobs/1564`, as if a link was followed. */
  go(path: string): void {
    location.hash = path;
  }

  /** Says something else after `?`, without a step in the history. Empty values are left out. */
  say(query: Record<string, string | null>): void {
    const said = new URLSearchParams(this.place.query);
    for (const [name, value] of Object.entries(query)) {
      if (value) said.set(name, value);
      else said.delete(name);
    }
    const path = this.place.path.map(encodeURIComponent).join("/");
    history.replaceState(history.state, "", said.size > 0 ? `#/${path}?${said}` : `#/${path}`);
    this.place = read();
  }
}

export const router = new Router();
