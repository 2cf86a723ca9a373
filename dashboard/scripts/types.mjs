// Makes src/protocol/frames.ts of the JSON Schema on standard input, which `gangline protocol --schema` prints.
import { writeFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { compile } from "json-schema-to-typescript";
import { format, resolveConfig } from "prettier";

const OUT = fileURLToPath(new URL("../src/protocol/frames.ts", import.meta.url));
const BANNER =
  "// Made by `make dashboard-types` from the Rust types; a test fails where it is stale. Not to be edited.\n";

// A verb is a reference with its `opt` beside it, which TypeScript's generator would pass over.
function splitReferences(node) {
  if (Array.isArray(node)) return node.map(splitReferences);
  if (node === null || typeof node !== "object") return node;
  const { $ref, description, ...rest } = Object.fromEntries(
    Object.entries(node).map(([key, value]) => [key, splitReferences(value)]),
  );
  if ($ref === undefined) return description === undefined ? rest : { description, ...rest };
  if (Object.keys(rest).length === 0) return { $ref };
  return { description, allOf: [{ $ref }, rest] };
}

const schema = splitReferences(JSON.parse(await text(process.stdin)));
const types = await compile({ ...schema, title: "Frame" }, "Frame", {
  additionalProperties: false,
  bannerComment: BANNER,
  format: false,
  unreachableDefinitions: true,
});
// Without plugins, which would be looked for beside the folder that this is called in.
const style = { ...(await resolveConfig(OUT)), plugins: [] };
await writeFile(process.argv[2] ?? OUT, await format(types, { ...style, parser: "typescript" }));
