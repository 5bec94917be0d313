/* Which colour each person of a room is shown in. Pure: every viewer computes the same. */

/** Twelve colours, each for a light page and for a dark one. No two of a column look alike, and each can be read on its page. */
export const palette = `c02712ff7a66 8b3917eca45c 7f6006f0ca48 415c00a4d450 007f413ace8a 00686453d6d4
0169a342bfff 2850d87c99f7 713dcfba80fe a020a8f685fd c10f63ff85b7 63576ab4b8c5`
  .split(/\s/).map((shades) => shades.match(/.{6}/g).map((shade) => `#${shade}`));

/** Neighbours in the palette are the most alike. So the next colour is five further, where the hue is another; twelve such steps lead to all. */
const STEP = 5;

/** A colour that is nearer than this to one of the palette, in red, green and blue of 255, looks like it. */
const ALIKE = 64;

/**
 * The colour of each of `people`, by id, as it is on a light page. They are in the order they came; what has a `joinedAt` is brought
 * into it. A colour that was chosen stands. Everybody else has the one of their id, or else the next that nobody before them has, `STEP`
 * by `STEP`: after twelve people a second round begins. So whoever comes later changes nothing.
 */
export function colorsOf(people) {
  const colors = new Map();
  const taken = new Set();
  for (const { id, color, metas } of [...people].sort(byJoining)) {
    let at = palette.findIndex(([light]) => light === color);
    // The gateway gives whoever chose none the colour of their id. Where metas are known they tell who chose it.
    if (/^#[0-9a-f]{6}/.test(color) && (at < 0 || metas?.some(({ meta }) => meta?.color))) {
      taken.add(palette.findIndex(([light]) => difference(light, color) < ALIKE));
      colors.set(id, color);
      continue;
    }
    if (at < 0) at = ownOf(id);
    if (palette.every((_, it) => taken.has(it))) taken.clear();
    while (taken.has(at)) at = (at + STEP) % palette.length;
    taken.add(at);
    colors.set(id, palette[at][0]);
  }
  return colors;
}

/** `color` on a light page and on a dark one: those of the palette have two shades, all others are what they are. */
export function shadesOf(color) {
  return palette.find(([light]) => light === color) ?? [color, color];
}

function byJoining(a, b) {
  return a.joinedAt - b.joinedAt || (a.joinedAt >= 0 && (a.id < b.id ? -1 : 1)) || 0;
}

/** Which colour an id has: FNV-1a with 64 bits, as the gateway counts it. Ids are ASCII. */
function ownOf(id) {
  let hash = 0xcbf29ce484222325n;
  for (const letter of id) hash = BigInt.asUintN(64, (hash ^ BigInt(letter.charCodeAt())) * 0x100000001b3n);
  return Number(hash % 12n);
}

function difference(a, b) {
  return Math.hypot(...[1, 3, 5].map((at) => parseInt(a.substr(at, 2), 16) - parseInt(b.substr(at, 2), 16)));
}
