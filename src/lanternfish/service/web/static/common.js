// What the small scripts share.

export const csrf = () => document.querySelector('meta[name="csrf"]')?.content ?? "";

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Bytes in words.
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  let value = bytes;
  while (value >= 1000 && i < units.length - 1) {
    value /= 1000;
    i += 1;
  }
  return `${i && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[i]}`;
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// Told to screen readers, politely.
export function say(sentence) {
  const place = document.querySelector("[data-said]");
  if (place) place.textContent = sentence;
}

// Colours of the page, for what Plotly draws.
export function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return { ink: of("ink"), soft: of("soft"), line: of("line"), accent: of("accent"), glow: of("glow"), bad: of("bad"), busy: of("busy"), surface: of("surface") };
}
