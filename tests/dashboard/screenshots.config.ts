// `make screenshots`: pictures of every page, for people who have not started it yet.
import { defineConfig } from "@playwright/test";
import config from "./playwright.config";

export default defineConfig({ ...config, testMatch: "screenshots.ts", timeout: 300_000 });
