/* How people are written and drawn. Pure. */

import { shadesOf } from 'presence-client';

export const statusNames = { online: 'Online', away: 'Away', busy: 'Busy', invisible: 'Invisible', offline: 'Offline' };

/** Two letters that stand for a name. */
export function initials(name) {
  const words = name.trim().split(/\s+/);
  const letters = words.length > 1 ? [words[0], words.at(-1)].map((word) => [...word][0]) : [...words[0]].slice(0, 2);
  return letters.join('').toUpperCase();
}

/** Black or white, whichever is easier to read on `color`, which the gateway tells as #rrggbb or #rrggbbaa. */
export function inkOn(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = parseInt(color.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? '#000' : '#fff';
}

/** `color` as a background and what is written on it: CSS for light pages and for dark ones. */
export function paint(color) {
  const shades = shadesOf(color);
  return { background: `light-dark(${shades})`, color: `light-dark(${shades.map(inkOn)})` };
}

/** Who is typing, in words. */
export function says(names) {
  if (names.length === 0) return '';
  if (names.length === 1) return `${names[0]} is typing`;
  if (names.length > 3) return `${names.length} people are typing`;
  return `${names.slice(0, -1).join(', ')} and ${names.at(-1)} are typing`;
}

/** How long ago `then` was. */
export function ago(then, now) {
  const minutes = Math.floor((now - then) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ago` : `${Math.floor(hours / 24)} d ago`;
}
