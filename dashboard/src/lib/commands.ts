// Command lines that are shown to be copied.
import { shellWord } from "./format.ts";

/** Where the command line and workers connect to: the dispatcher that this page came from. */
export function dispatcherUrl(base: string = document.baseURI): string {
  const url = new URL("ws", base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return url.href;
}

/** A command line of words, each quoted where it needs it. */
export function line(...words: readonly string[]): string {
  return words.map(shellWord).join(" ");
}
