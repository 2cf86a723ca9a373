// A dispatcher in the middle of a working day: people, machines, and jobs of every kind. What is told of its pages is told
// with something on them.
import { resolve } from "node:path";
import { Engine, IMAGE } from "./engine";
import type { Peer } from "./peer";
import { eventually, Server } from "./server";
import { test as story } from "./story";

export interface Scene {
  server: Server;
  /** Jobs worth looking at. */
  jobs: { running: string; failed: string; picture: string };
  /** A container that runs. */
  container: string;
  end(): Promise<void>;
}

/** Stories that share it. */
export const test = story.extend<object, { day: Scene }>({
  day: [
    async ({}, use) => {
      const day = await scene();
      await use(day);
      await day.end();
    },
    { scope: "worker", timeout: 120_000 },
  ],
  server: async ({ day }, use) => use(day.server),
});

/** Every page, by the name of its pictures, and where it is. */
export const PLACES: Record<string, (scene: Scene) => string> = {
  overview: () => "/",
  jobs: () => "/jobs",
  job: ({ jobs }) => `/jobs/${jobs.running}`,
  "job-failed": ({ jobs }) => `/jobs/${jobs.failed}`,
  "job-artifacts": ({ jobs }) => `/jobs/${jobs.picture}`,
  machines: () => "/machines",
  machine: () => "/machines/gpu-box-1",
  containers: () => "/containers",
  container: ({ container }) => `/containers/${container}`,
  submit: () => "/submit",
  account: () => "/account",
  admin: () => "/admin",
  frames: () => "/frames",
};

/** Programs of its jobs, which do what such programs look like. */
const CARGO = `
for crate in proc-macro2 unicode-ident quote syn serde_derive serde libc bytes memchr tokio hyper axum; do
  printf '\\033[1;32m   Compiling\\033[0m %s v1.0.%d\\n' $crate $((\${#crate} * 7)); sleep 0.05
done
[ "$1" = build ] || { printf '\\033[1;32m    Finished\\033[0m in 0.7s\\n'; exit; }
printf '\\033[1;31merror[E0308]\\033[0;1m: mismatched types\\033[0m\\n' >&2
printf '  \\033[1;34m-->\\033[0m src/scheduler/claim.rs:118:31\\n' >&2
printf '   \\033[1;34m|\\033[0m\\n\\033[1;34m118 |\\033[0m     let free = capacity.gpus - used;\\n' >&2
printf '   \\033[1;34m|\\033[0m                               \\033[1;31m^^^^ expected u32, found Option<u32>\\033[0m\\n' >&2
printf '\\n\\033[1;31merror\\033[0m: could not compile gangline (lib) due to 1 previous error\\n' >&2
exit 101`;

const TRAIN = `printf '\\033[1mResNet-50\\033[0m on cifar10, batch 256\\n'
epoch=1; while :; do
  for step in 25 50 75 100; do
    printf '\\repoch %2d  \\033[36m[%-20s]\\033[0m %3d %%' $epoch "$(printf '%.*s' $((step / 5)) '####################')" $step; sleep 0.1
  done
  printf '\\n  loss \\033[33m0.%04d\\033[0m  accuracy \\033[32m%d.%d %%\\033[0m\\n' $((9000 / (epoch + 1))) $((60 + epoch % 35)) $((epoch % 10))
  epoch=$((epoch + 1)); sleep 0.4
done`;

const WORK = `for i in 1 2 3 4 5 6 7 8; do echo "$(date +%T) part $i of 8"; sleep 0.02; done; echo done`;

const PROGRAMS = {
  cargo: CARGO,
  train: TRAIN,
  "import-orders": WORK,
  thumbnails: `[ "$1" != 0412 ] || { echo "0412/037.tif: no space left on device" >&2; exit 3; }; ${WORK}`,
  "rotate-keys": WORK,
  render: WORK,
  "sync-datasets": "echo 12.4 GB to go; exec sleep 900",
  crawl: "exec sleep 60",
  "fuzz-parser": "kill -SEGV $$",
};

/** Sets it up, about ten seconds' work. */
async function scene(): Promise<Scene> {
  const engine = await Engine.start();
  const server = new Server("--templates", resolve(__dirname, "../../../examples/templates"));
  const end = async () => {
    await server.end();
    await engine.end();
  };
  try {
    for (const [name, script] of Object.entries(PROGRAMS)) server.program(name, script);
    await server.start();
    await server.worker(
      "gpu-box-1",
      "--slots=4",
      "--gpus=2",
      "--label=zone=eu-1",
      "--label=gpu=h200",
      `--container-engine=${engine.address}`,
    );
    await server.worker("build-3", "--slots=6", "--label=zone=eu-1", "--label=arch=amd64", "--container-engine=none");
    await server.worker("edge-7", "--slots=2", "--label=zone=us-2", "--container-engine=none");
    const admin = await server.admin();
    const [ada, grace] = [
      await server.user("ada", "correct horse battery"),
      await server.user("grace", "battery staple horse"),
    ];
    await admin.ask("auth", {
      opt: "userAdd",
      account: "linus",
      role: "user",
      email: "linus@example.org",
      password: "horse staple battery",
    });
    await admin.ask("auth", {
      opt: "tokenCreate",
      role: "plugin",
      account: "admin",
    });
    await admin.ask("worker", { opt: "drain", workerId: "edge-7" });

    await history(ada, grace);
    const failed = await ada.submit("cargo build --release", {
      name: "release build",
      tags: ["ci", "main"],
    });
    const { jobId: picture } = await grace.ask("job", {
      opt: "submit",
      template: "fractal",
      params: {
        width: 640,
        height: 420,
        x: -0.745,
        y: 0.11,
        scale: 0.05,
        iterations: 400,
      },
      name: "seahorse valley",
      tags: ["pictures"],
      follow: false,
    });
    await Promise.all([ada.output(failed), grace.output(picture)]);
    const running = await ada.submit("train resnet50 --data cifar10 --epochs 90", {
      name: "train resnet50",
      tags: ["training", "gpu"],
      requires: { gpus: 1, workerId: "gpu-box-1" },
    });
    await grace.submit("PS1='grace@build-3:~$ ' sh -i", {
      name: "shell on build-3",
      tty: { cols: 100, rows: 30 },
      stdin: true,
      requires: { workerId: "build-3" },
    });
    await ada.submit("sync-datasets s3://datasets/cifar10", {
      name: "sync datasets",
      tags: ["nightly"],
      requires: { workerId: "build-3" },
    });
    await grace.submit("./evaluate.sh", {
      name: "evaluate on four GPUs",
      tags: ["training"],
      requires: { labels: { gpu: "h200x4" } },
    });
    await grace.submit("make dist", {
      name: "package for arm",
      tags: ["release"],
      requires: { labels: { arch: "arm64" } },
      priority: 5,
    });
    await eventually(
      "the running jobs",
      async () => (await admin.ask("job", { opt: "get", jobId: running })).job.status === "running",
    );
    const container = await containersOf(ada);
    for (const peer of [admin, ada, grace]) peer.close();
    return { server, jobs: { running, failed, picture }, container, end };
  } catch (error) {
    await end();
    throw error;
  }
}

/** What is over: of every kind of end. */
async function history(ada: Peer, grace: Peer): Promise<void> {
  const days: [string, string][] = [
    ["lint", "cargo clippy --all-targets"],
    ["unit tests", "cargo test"],
    ["import orders", "import-orders --since yesterday"],
    ["thumbnail batch 0411", "thumbnails 0411"],
    ["rotate keys", "rotate-keys --older 90d"],
    ["render frame 1180", "render --frame 1180 --samples 256"],
    ["thumbnail batch 0412", "thumbnails 0412"],
  ];
  const done: Promise<string>[] = [];
  for (let i = 0; i < 35; i++) {
    const [who, [name, command]] = [i % 3 === 0 ? grace : ada, days[i % days.length]!];
    done.push(who.submit(command, { name, tags: [i % 2 ? "ci" : "nightly"] }).then((job) => who.output(job)));
  }
  done.push(
    ada.submit("crawl https://example.org", { name: "crawl sitemap", timeoutSecs: 1 }).then((job) => ada.output(job)),
  );
  done.push(
    ada.submit("fuzz-parser --minutes 10", { name: "fuzz parser", tags: ["ci"] }).then((job) => ada.output(job)),
  );
  done.push(
    grace.submit("crawl --reindex", { name: "reindex search" }).then(async (job) => {
      await grace.ask("job", { opt: "cancel", jobId: job });
      return grace.output(job);
    }),
  );
  await Promise.all(done);
}

/** Two that run and one that is over; returns one that has something to say. */
async function containersOf(ada: Peer): Promise<string> {
  const serve = `i=0; while :; do i=$((i+1)); echo "$(date +%T) GET /index.html 200 $((i * 37 % 900 + 80)) bytes"; sleep 1; done`;
  const make = (more: object) =>
    ada.ask("container", {
      opt: "create",
      imageId: IMAGE,
      memoryBytes: 256 * 1024 * 1024,
      ...more,
    });
  const { containerId } = await make({
    name: "web",
    command: serve,
    ports: ["8080"],
    restart: "on-failure",
  });
  await make({ name: "cache", command: "while :; do sleep 5; done" });
  const { containerId: over } = await make({
    name: "migrate",
    command: "echo 14 migrations applied; sleep 600",
  });
  await ada.ask("container", { opt: "stop", containerId: over, graceSecs: 1 });
  return containerId;
}
