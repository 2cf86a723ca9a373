// Colours of the terminal, in both themes: readable on its ground, each one of the sixteen.
import type { ISearchOptions } from "@xterm/addon-search";
import type { ITheme } from "@xterm/xterm";

interface Look {
  theme: ITheme;
  search: NonNullable<ISearchOptions["decorations"]>;
}

const LIGHT: Look = {
  theme: {
    background: "#ffffff",
    foreground: "#17212d",
    cursor: "#0f6f68",
    cursorAccent: "#ffffff",
    selectionBackground: "#b9dcd9",
    scrollbarSliderBackground: "#17212d2e",
    scrollbarSliderHoverBackground: "#17212d52",
    scrollbarSliderActiveBackground: "#17212d75",
    black: "#17212d",
    red: "#ae1f17",
    green: "#17663a",
    yellow: "#855004",
    blue: "#1757ad",
    magenta: "#8a2c92",
    cyan: "#0b6670",
    white: "#5b6877",
    brightBlack: "#4f5c6c",
    brightRed: "#c42b22",
    brightGreen: "#1d7a46",
    brightYellow: "#8f5a0a",
    brightBlue: "#2166c7",
    brightMagenta: "#a03aa8",
    brightCyan: "#0f7480",
    brightWhite: "#2b3744",
  },
  search: {
    matchBackground: "#ffe8a3",
    matchOverviewRuler: "#855004",
    activeMatchBackground: "#ffc94d",
    activeMatchColorOverviewRuler: "#17212d",
  },
};

const DARK: Look = {
  theme: {
    background: "#0b1016",
    foreground: "#dfe6ee",
    cursor: "#4fd1c0",
    cursorAccent: "#0b1016",
    selectionBackground: "#1f4a48",
    scrollbarSliderBackground: "#dfe6ee2e",
    scrollbarSliderHoverBackground: "#dfe6ee52",
    scrollbarSliderActiveBackground: "#dfe6ee75",
    black: "#3a4653",
    red: "#ff8f85",
    green: "#66d192",
    yellow: "#efbc62",
    blue: "#84b8ff",
    magenta: "#e29bea",
    cyan: "#5fd4e0",
    white: "#cfd7e0",
    brightBlack: "#8795a5",
    brightRed: "#ffaaa2",
    brightGreen: "#8ae2ad",
    brightYellow: "#f7d08b",
    brightBlue: "#a9ceff",
    brightMagenta: "#efb9f4",
    brightCyan: "#8fe6ee",
    brightWhite: "#ffffff",
  },
  search: {
    matchBackground: "#5c4a12",
    matchOverviewRuler: "#efbc62",
    activeMatchBackground: "#8a6a10",
    activeMatchColorOverviewRuler: "#ffffff",
  },
};

export function lookOf(dark: boolean): Look {
  return dark ? DARK : LIGHT;
}
