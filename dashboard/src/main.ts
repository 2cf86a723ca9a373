import { mount } from "svelte";
import App from "./App.svelte";
import "./app.css";

// The policy lets <style> elements in only with the page's nonce. xterm.js makes its own, and knows of none.
const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce;
const createElement = document.createElement.bind(document);
document.createElement = (name: string, options?: ElementCreationOptions) => {
  const element = createElement(name, options);
  if (nonce && name === "style") element.nonce = nonce;
  return element;
};

const target = document.getElementById("app");
if (target) mount(App, { target });
