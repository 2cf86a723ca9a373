// Uploads: small ones at once, larger ones in pieces that survive a lost connection (docs/http/uploads.md).
import { Refusal } from "./link.svelte.ts";
import { session } from "./session.svelte.ts";

/** Larger files go in pieces. */
const AT_ONCE = 8 * 1024 * 1024;
const PIECE = 8 * 1024 * 1024;
/** How often in a row a piece is tried. */
const TRIES = 6;
const WAIT_MS = 1000;

const TUS = { "Tus-Resumable": "1.0.0" };

/** The largest upload that the dispatcher takes, in bytes. */
export async function uploadLimit(): Promise<number> {
  const response = await session.fetch("api/uploads/resumable", { method: "OPTIONS" });
  return Number(response.headers.get("Tus-Max-Size") ?? Number.MAX_SAFE_INTEGER);
}

/** Sends a file; the address of it is for a job's `fileUrl`.
 * @throws Refusal, or AbortError */
export async function upload(
  file: Blob,
  name: string,
  onsent: (bytes: number) => void,
  signal: AbortSignal,
): Promise<string> {
  if (file.size > AT_ONCE) return uploadInPieces(file, name, onsent, signal);
  const path = `api/uploads?filename=${encodeURIComponent(name)}`;
  const headers = { "Content-Type": "application/octet-stream" };
  const response = await session.fetch(path, { method: "POST", body: file, headers, signal });
  return ((await response.json()) as { fileUrl: string }).fileUrl;
}

async function uploadInPieces(
  file: Blob,
  name: string,
  onsent: (bytes: number) => void,
  signal: AbortSignal,
): Promise<string> {
  const begun = await session.fetch("api/uploads/resumable", {
    method: "POST",
    headers: { ...TUS, "Upload-Length": String(file.size), "Upload-Metadata": `filename ${base64(name)}` },
    signal,
  });
  const path = begun.headers.get("Location")?.replace(/^\//, "") ?? "";
  let sent = 0;
  for (let tries = 1; ;) {
    try {
      const response = await session.fetch(path, {
        method: "PATCH",
        headers: { ...TUS, "Upload-Offset": String(sent), "Content-Type": "application/offset+octet-stream" },
        body: file.slice(sent, sent + PIECE),
        signal,
      });
      const url = response.headers.get("Gangline-File-Url");
      if (url !== null) return url;
      sent = offsetOf(response);
      tries = 1;
    } catch (error) {
      if (!(error instanceof Refusal) || !error.retry || ++tries > TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, WAIT_MS * tries));
      const done = await session.fetch(path, { method: "HEAD", headers: TUS, signal }).catch(() => null);
      const url = done?.headers.get("Gangline-File-Url");
      if (url) return url;
      if (done) sent = offsetOf(done);
    }
    onsent(sent);
  }
}

function offsetOf(response: Response): number {
  return Number(response.headers.get("Upload-Offset") ?? 0);
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
