// A plugin that puts a price on every job by its image, and refuses images that have none.
//
// Started by the dispatcher, or by hand with a token of the role plugin:
//
//   GANGLINE_TOKEN=$(gangline token create --role plugin) node examples/plugin.mjs
//
// Node.js has a WebSocket of its own from version 22 on; before that, the package ws has one (npm ci).
const { GANGLINE_URL = "ws://127.0.0.1:3000/ws", GANGLINE_TOKEN, GANGLINE_PLUGIN } = process.env;
const WebSocket = globalThis.WebSocket ?? (await import("ws")).WebSocket;

// Cents an hour. A job without an image is a plain process.
const PRICES = { busybox: 1, python: 5, cuda: 250 };
const PROCESS = 2;

const socket = new WebSocket(GANGLINE_URL, ["gangline.v1", ...(GANGLINE_TOKEN ? [`bearer.${GANGLINE_TOKEN}`] : [])]);
const say = (data) => socket.send(JSON.stringify({ type: "plugin", data }));

/** What becomes of a job: `allow`, `change` or `refuse`. */
function decide({ account, job }) {
  const image = job.image?.split("/").pop().split(":")[0];
  const price = image === undefined ? PROCESS : PRICES[image];
  if (price === undefined) {
    return { action: "refuse", message: `${account}: there is no price for the image ${job.image}` };
  }
  // The dear ones wait for the cheap ones.
  const priority = Math.min(job.priority ?? 0, price > 100 ? -1 : Infinity);
  return { action: "change", job: { ...job, priority, env: { ...job.env, PRICE_PER_HOUR: String(price) } } };
}

socket.addEventListener("open", () => {
  say({ opt: "register", name: GANGLINE_PLUGIN ?? "prices", hooks: ["job.submit", "job.end"] });
});

socket.addEventListener("message", ({ data: text }) => {
  const { type, data } = JSON.parse(text);
  if (type === "error") {
    console.error(data.message);
  } else if (type === "plugin" && data.opt === "registered") {
    console.log(`${data.name} takes ${data.hooks.join(", ")}`);
  } else if (type === "plugin" && data.opt === "call") {
    say({ opt: "answer", callId: data.callId, ...decide(data) });
  } else if (type === "plugin" && data.opt === "event") {
    const { jobId, status, account, startedAt, completedAt } = data.job;
    console.log(`${account}: ${jobId} is ${status} after ${((completedAt - (startedAt ?? completedAt)) / 1000).toFixed(1)} s`);
  }
});

// Whoever has started this starts it again.
socket.addEventListener("close", ({ code }) => process.exit(code === 1000 ? 0 : 1));
socket.addEventListener("error", ({ message }) => console.error(message ?? "no connection"));

// The dispatcher holds this open for as long as it lives.
if (GANGLINE_PLUGIN) process.stdin.resume().on("end", () => process.exit());
