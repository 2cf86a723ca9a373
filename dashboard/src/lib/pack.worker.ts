// Packs files into a ZIP, off the page's thread. What is packed goes into blobs, which the browser keeps where it likes.
import { Zip, ZipDeflate, ZipPassThrough } from "fflate";
import type { Picked } from "./files.ts";

/** What it says: how many bytes were read, the ZIP, or what went wrong. */
export type Packing = { read: number } | { zip: Blob } | { failed: string };

/** Bytes that are put into a blob together. */
const PIECE = 4 * 1024 * 1024;
/** Packing these again takes time and saves nothing. */
const PACKED = /\.(zip|gz|tgz|xz|zst|bz2|7z|rar|png|jpe?g|webp|gif|mp[34]|m4a|mkv|webm|woff2?|parquet)$/i;

const say = (packing: Packing) => postMessage(packing);

onmessage = ({ data }: MessageEvent<{ files: readonly Picked[]; most: number }>) => {
  pack(data.files, data.most).then(
    (zip) => say({ zip }),
    (error: unknown) => say({ failed: error instanceof Error ? error.message : String(error) }),
  );
};

async function pack(files: readonly Picked[], most: number): Promise<Blob> {
  const blobs: Blob[] = [];
  let piece: Uint8Array<ArrayBuffer>[] = [];
  let inPiece = 0;
  let size = 0;
  let failed: Error | null = null;
  const zip = new Zip((error, chunk) => {
    if (error) failed = error;
    else piece.push(chunk as Uint8Array<ArrayBuffer>);
    inPiece += chunk?.length ?? 0;
    size += chunk?.length ?? 0;
  });
  let read = 0;
  const packed = () => {
    if (failed) throw failed;
    if (size > most) throw new Error("Packed, the files are larger than what the dispatcher takes.");
    if (inPiece < PIECE) return;
    blobs.push(new Blob(piece));
    piece = [];
    inPiece = 0;
  };
  for (const { path, file } of files) {
    const entry = PACKED.test(path) ? new ZipPassThrough(path) : new ZipDeflate(path, { level: 6 });
    entry.mtime = Math.max(file.lastModified, Date.UTC(1980, 0, 2));
    zip.add(entry);
    const reader = file.stream().getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      entry.push(next.value);
      read += next.value.length;
      packed();
      say({ read });
    }
    entry.push(new Uint8Array(), true);
    packed();
  }
  zip.end();
  packed();
  return new Blob([...blobs, ...piece], { type: "application/zip" });
}
