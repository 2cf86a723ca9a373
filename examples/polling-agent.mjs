// A polling worker of the distributed executor: registers once, says every 10 s that it lives, asks every 5 s for a
// job, fetches and unpacks its ZIP, runs its commands there and brings back what came of them.
//
//   node polling-agent.mjs            against http://localhost:3000, as the document has it
//   SERVER=… WORKER_ID=… POLL_MS=…    otherwise; TOKEN=… where the server wants one
//
// Needs Node 18 or later, and `unzip`.

import { execFile, exec } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createWriteStream } from 'node:fs';
import { hostname, cpus, platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';

const server = process.env.SERVER ?? 'http://localhost:3000';
const workerId = process.env.WORKER_ID ?? `worker-${Math.random().toString(36).slice(2, 10)}`;
const pollEvery = Number(process.env.POLL_MS ?? 5000);
const credentials = process.env.TOKEN ? { authorization: `Bearer ${process.env.TOKEN}` } : {};

async function call(method, path, body) {
  const headers = { 'content-type': 'application/json', ...credentials };
  const response = await fetch(server + path, { method, headers, body: body && JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${answer.error}`);
  return answer;
}

// Runs the commands with a shell; a failure of theirs is a result like any other.
function run(command, cwd) {
  return new Promise((resolve) => {
    exec(command, { cwd, maxBuffer: 10 * 1024 * 1024 }, (error, stdout, stderr) => {
      resolve({ stdout, stderr, exitCode: error ? (error.code ?? 1) : 0 });
    });
  });
}

async function work({ jobId, command, fileUrl, filename }) {
  const dir = await mkdtemp(join(tmpdir(), 'job-'));
  try {
    const zip = join(dir, 'job.zip');
    const response = await fetch(new URL(fileUrl, server), { headers: credentials });
    if (!response.ok) throw new Error(`File download failed: ${filename}: ${response.status}`);
    await pipeline(response.body, createWriteStream(zip));
    await promisify(execFile)('unzip', ['-q', zip, '-d', dir]);
    await rm(zip);
    const result = await run(command, dir);
    await call('POST', '/api/jobs/submit-result', { jobId, workerId, ...result });
  } catch (error) {
    await call('PUT', '/api/jobs/submit-result', { jobId, workerId, errorMessage: error.message });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function poll() {
  try {
    const { job } = await call('GET', '/api/jobs/get-job');
    if (job) await work(job);
  } catch (error) {
    console.error(error.message);
  }
  setTimeout(poll, pollEvery);
}

await call('POST', '/api/workers/register', {
  workerId,
  hostname: hostname(),
  os: platform(),
  cpuCount: cpus().length,
  version: '1.0.0',
});
console.log(`registered as ${workerId}`);
setInterval(() => {
  call('POST', '/api/workers/heartbeat', { workerId }).catch((error) => console.error(error.message));
}, 10_000);
poll();
