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
// Neither does it let in style attributes that are written as text, as xterm.js does for colours and wide characters. What is
// set as an object's property is no text, so this is the same to the browser.
const setAttribute = Element.prototype.setAttribute;
Element.prototype.setAttribute = function (name: string, value: string) {
  if (name === "style" && this instanceof HTMLElement) this.style.cssText = value;
  else setAttribute.call(this, name, value);
};

const target = document.getElementById("app");
if (target) mount(App, { target });
