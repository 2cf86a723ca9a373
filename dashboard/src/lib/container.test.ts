import { describe, expect, it } from "vitest";
import type { ContainerRecord } from "../protocol/frames.ts";
import { createLine, createOf, emptyForm, portLink, sftpOf, type Form } from "./container.ts";

const URL = "ws://127.0.0.1:3000/ws";
const FULL: Form = {
  image: " nginx ",
  name: "web",
  ports: "80, 8443:443 53/udp",
  command: "nginx -g 'daemon off;'",
  env: [
    { name: "A", value: "b c" },
    { name: "", value: "left over" },
  ],
  cpus: "0.5",
  memory: "512MiB",
  gpus: "1",
  mounts: [
    { volume: "conf", path: "/etc/nginx", readOnly: true },
    { volume: "", path: "" },
  ],
  restart: "on-failure",
  tty: true,
  workerId: "gpu-box-1",
  labels: [{ name: "zone", value: "eu" }],
  grace: "1m 30s",
};
const container = (change: Partial<ContainerRecord>): ContainerRecord => ({
  account: "ada",
  attempt: 1,
  containerId: "ctr-9-c5",
  createdAt: 0,
  gpuIds: [],
  imageId: "nginx",
  mounts: [],
  number: 9,
  ports: [],
  restart: "no",
  status: "running",
  tty: false,
  workerId: "gpu-box-1",
  ...change,
});

describe("a form", () => {
  it("says nothing of what it leaves open", () => {
    const { create, faults } = createOf({ ...emptyForm(), image: "nginx" });
    expect(faults).toEqual({});
    expect(create).toEqual({ imageId: "nginx" });
    expect(createLine(create, URL)).toBe(`gangline container create --url ${URL} nginx`);
  });

  it("becomes what the dispatcher takes", () => {
    expect(createOf(FULL)).toEqual({
      faults: {},
      create: {
        imageId: "nginx",
        name: "web",
        ports: [80, "8443:443", "53/udp"],
        command: "nginx -g 'daemon off;'",
        env: { A: "b c" },
        cpus: 0.5,
        memoryBytes: 512 * 2 ** 20,
        gpus: 1,
        mounts: [{ volume: "conf", path: "/etc/nginx", readOnly: true }],
        restart: "on-failure",
        tty: true,
        workerId: "gpu-box-1",
        requires: { labels: { zone: "eu" } },
        graceSecs: 90,
      },
    });
  });

  it("becomes the same on the command line", () => {
    expect(createLine(createOf(FULL).create, URL)).toBe(
      `gangline container create --url ${URL} --name web -p 80 -p 8443:443 -p 53/udp -e 'A=b c' --cpus 0.5 ` +
        `--memory 512MiB --gpus 1 --mount conf:/etc/nginx:ro -t --restart on-failure --grace 1m30s --label zone=eu ` +
        `--worker gpu-box-1 nginx -- 'nginx -g '\\''daemon off;'\\'''`,
    );
  });

  it("says which fields cannot be read", () => {
    const { faults } = createOf({
      ...FULL,
      image: "",
      ports: "http",
      cpus: "-1",
      memory: "much",
      gpus: "1.5",
      grace: "x",
    });
    expect(Object.keys(faults)).toEqual(["imageId", "ports", "cpus", "memoryBytes", "gpus", "graceSecs"]);
  });
});

describe("a port", () => {
  it("leads to a browser where one could speak to it", () => {
    expect(portLink({ container: 80, host: 1, address: "192.0.2.7:1", protocol: "tcp" })).toBe("http://192.0.2.7:1");
    expect(portLink({ container: 443, host: 1, address: "192.0.2.7:1" })).toBe("https://192.0.2.7:1");
    expect(portLink({ container: 53, host: 1, address: "192.0.2.7:1", protocol: "udp" })).toBeNull();
    expect(portLink({ container: 80, host: 1 })).toBeNull();
  });
});

describe("files", () => {
  it("are reached where the worker says", () => {
    expect(sftpOf(container({ sftp: "files.lan:2022" }), "ada")).toEqual({
      address: "files.lan:2022",
      user: "ada.ctr-9-c5",
      command: "sftp -P 2022 ada.ctr-9-c5@files.lan",
    });
    expect(sftpOf(container({ sftp: "[2001:db8::7]:2022" }), "ada")?.command).toBe(
      "sftp -P 2022 'ada.ctr-9-c5@[2001:db8::7]'",
    );
    expect(sftpOf(container({}), "ada")).toBeNull();
  });
});
