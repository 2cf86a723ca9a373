import base from "./vite.config.ts";
export default { ...base, server: { host: "127.0.0.1", port: 5177, strictPort: true, proxy: { "/ws": { target: "ws://127.0.0.1:3177", ws: true }, "/api": "http://127.0.0.1:3177" } } };
