// People's colours. A hue is a person's; how light it is drawn depends on the theme and on what
// it is for, so that yellow and blue are as easy to read as each other.

const dark = matchMedia("(prefers-color-scheme: dark)");

// The relative luminance (WCAG 2) of what is drawn in a person's hue. Text on the panels of
// central.css has a contrast of 5 to 1 or more.
const LUMINANCE = {
  dark: {ink: 0.42, board: 0.17, glow: 0.5},
  light: {ink: 0.125, board: 0.36, glow: 0.22},
};

const WORLDS = {
  dark: {
    name: "dark", outside: "#05070f", ground: "#0a0f20", edge: "#2b3a66",
    star: "165 188 255", starlight: 0.85,
    line: "rgb(130 155 255 / .055)", strongLine: "rgb(130 155 255 / .11)", text: "#eef2ff",
    halo: "rgb(5 8 18 / .8)", core: "#ffffff",
    spark: "255 205 96", sparkCore: "#fff6da", sparkEdge: "rgb(120 70 0 / .5)",
    glow: 0.55, clouds: ["60 84 214", "146 54 190", "16 128 158"], cloud: 0.2,
  },
  light: {
    name: "light", outside: "#dfe3ef", ground: "#f8f9fd", edge: "#b3bddb",
    star: "92 112 178", starlight: 0.6,
    line: "rgb(62 84 160 / .06)", strongLine: "rgb(62 84 160 / .13)", text: "#1b2136",
    halo: "rgb(255 255 255 / .85)", core: "#ffffff",
    spark: "240 150 10", sparkCore: "#b96a00", sparkEdge: "rgb(255 255 255 / .85)",
    glow: 0.34, clouds: ["120 150 255", "255 150 190", "120 220 210"], cloud: 0.2,
  },
};

function toRgb(hue, lightness) {
  const chroma = 0.82 * Math.min(lightness, 1 - lightness);
  return [0, 8, 4].map(n => {
    const k = (n + hue / 30) % 12;
    return lightness - chroma * Math.max(-1, Math.min(k - 3, 9 - k, 1));
  });
}

function luminance(rgb) {
  const [r, g, b] = rgb.map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// The colour of a hue that is as light as asked for, found by halving.
function shade(hue, wanted) {
  let [low, high] = [0, 1];
  for (let i = 0; i < 12; i++) {
    const middle = (low + high) / 2;
    if (luminance(toRgb(hue, middle)) < wanted) low = middle; else high = middle;
  }
  return toRgb(hue, high).map(v => Math.round(v * 255)).join(" ");
}

const shades = new Map(); // "dark ink 200" -> "R G B": at most 6 times 360

/** The numbers "R G B" of a person's hue in the theme of now. `use`: "ink", "board", "glow". */
export function tint(hue, use) {
  hue = Math.round(hue) % 360;
  const theme = world().name;
  const key = `${theme} ${use} ${hue}`;
  let value = shades.get(key);
  if (!value) {
    value = shade(hue, LUMINANCE[theme][use]);
    shades.set(key, value);
  }
  return value;
}

/** The same as a CSS colour. */
export function color(hue, use = "ink", alpha = 1) {
  return `rgb(${tint(hue, use)} / ${alpha})`;
}

/** What the world is painted with, by the theme of now. */
export function world() {
  return dark.matches ? WORLDS.dark : WORLDS.light;
}

/** Gives an element of the page a person's hue, and again when the theme changes. */
export function paint(element, hue) {
  element.dataset.hue = hue;
  element.style.setProperty("--hue", color(hue));
  return element;
}

/** Calls `fn` when the theme has changed. */
export function onTheme(fn) {
  dark.addEventListener("change", fn);
}

onTheme(() => {
  for (const element of document.querySelectorAll("[data-hue]")) {
    paint(element, Number(element.dataset.hue));
  }
});
