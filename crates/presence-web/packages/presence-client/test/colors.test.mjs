// Which colour each person of a room is shown in: a palette that can be told apart and read, and who has which of it.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Picture, colorsOf, palette, shadesOf } from 'presence-client';
import { inkOn, paint } from 'presence-client/looks';

const APART = 0.1;
const CONTRAST = 4.5;
const PAGE = new URL('../../../page/theme.css', import.meta.url);

const linear = (color) => (color.length === 4 ? [1, 2, 3].map((at) => parseInt(color[at] + color[at], 16) / 255) : [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16) / 255))
  .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));

function contrast(a, b) {
  const [dark, light] = [a, b].map((color) => linear(color).reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0)).sort((x, y) => x - y);
  return (light + 0.05) / (dark + 0.05);
}

// The matrices of CSS Color 4, by way of XYZ: not those that the client multiplies with.
const times = (matrix, vector) => matrix.map((row) => row.reduce((sum, value, at) => sum + value * vector[at], 0));
const XYZ = [[0.41239079926595934, 0.357584339383878, 0.1804807884018343], [0.21263900587151027, 0.715168678767756, 0.07219231536073371], [0.01933081871559182, 0.11919477979462598, 0.9505321522496607]];
const LMS = [[0.819022437996703, 0.3619062600528904, -0.1288737815209879], [0.0329836539323885, 0.9292868615863434, 0.0361446663506424], [0.0481771893596242, 0.2642395317527308, 0.6335478284694309]];
const LAB = [[0.210454268309314, 0.7936177747023054, -0.0040720430116193], [1.9779985324311684, -2.42859224204858, 0.450593709617411], [0.0259040424655478, 0.7827717124575296, -0.8086757549230774]];
const oklab = (color) => times(LAB, times(LMS, times(XYZ, linear(color))).map(Math.cbrt));
const distance = (a, b) => Math.hypot(...oklab(a).map((part, at) => part - oklab(b)[at]));

const light = palette.map(([color]) => color);
const people = (...ids) => ids.map((id, at) => ({ id, joinedAt: at + 1, metas: [] }));
const crowd = (count, from = 0) => people(...Array.from({ length: count }, (_, at) => `user-${from + at}`));

/** What people stand before on the page: its grounds, in each theme. */
async function grounds() {
  const css = await readFile(PAGE, 'utf8');
  const [day, night] = css.split('prefers-color-scheme: dark');
  return [day, night].map((part) => ['ground', 'surface', 'sunken'].map((name) => new RegExp(`--${name}: (#[0-9a-f]{6})`).exec(part)[1]));
}

test('the twelve colours differ by 0.1 in OKLab, in light and in dark', () => {
  assert.equal(palette.length, 12);
  for (const theme of [0, 1]) {
    const colors = palette.map((shades) => shades[theme]);
    const near = colors.flatMap((a, at) => colors.slice(at + 1).map((b) => [distance(a, b), a, b])).sort(([x], [y]) => x - y);
    assert.ok(near[0][0] >= APART, `${near[0]}`);
  }
});

test('each has a contrast of 4.5 with the grounds of the page, and so has what is written on it', async () => {
  const themes = await grounds();
  for (const shades of palette) {
    for (const theme of [0, 1]) {
      for (const ground of [...themes[theme], inkOn(shades[theme])]) {
        assert.ok(contrast(shades[theme], ground) >= CONTRAST, `${shades[theme]} on ${ground}: ${contrast(shades[theme], ground)}`);
      }
    }
  }
});

test('no colour could be read on both grounds, so each has two shades', async () => {
  const [[, white], [, black]] = await grounds();
  const greys = Array.from({ length: 256 }, (_, part) => `#${part.toString(16).padStart(2, '0').repeat(3)}`);
  assert.ok(!greys.some((grey) => contrast(grey, white) >= CONTRAST && contrast(grey, black) >= CONTRAST), 'contrast is of luminance alone, and greys have them all');
});

test('the first twelve people of any room have twelve colours', () => {
  for (let from = 0; from < 2_000; from += 7) {
    const colors = [...colorsOf(crowd(12, from)).values()];
    assert.equal(new Set(colors).size, 12);
    for (const color of colors) assert.ok(light.includes(color));
  }
});

test('alone one has the colour of one\'s id, which is the gateway\'s', async () => {
  const source = await readFile(new URL('../../../../presence-core/src/meta.rs', import.meta.url), 'utf8');
  const [, list] = /const PALETTE: [^=]*= \[([^\]]*)\]/.exec(source);
  assert.deepEqual(list.match(/#[0-9a-f]{6}/g), light, 'one palette');
  // The same four are in the test of the rule in the gateway.
  assert.deepEqual(['ann', 'bob', 'eve', 'zoe'].map((id) => colorsOf(people(id)).get(id)), ['#c02712', '#c02712', '#8b3917', '#a020a8']);
});

test('two people whose ids have the same colour get two of different hues', () => {
  const grey = light.at(-1); // it has none
  for (const own of light) {
    const [first, second] = crowd(400).filter(({ id }) => colorsOf(people(id)).get(id) === own);
    const colors = [...colorsOf(people(first.id, second.id)).values()];
    assert.equal(colors[0], own);
    for (const theme of [0, 1]) {
      const [a, b] = colors.map((color) => shadesOf(color)[theme]);
      assert.ok(distance(a, b) >= (colors.includes(grey) ? 0.11 : 0.2), `${a} and ${b}: ${distance(a, b)}`);
    }
  }
});

test('whoever comes later changes nothing, and whoever leaves only what came after them', () => {
  const all = crowd(30);
  const whole = colorsOf(all);
  for (let here = 1; here <= all.length; here += 1) {
    for (const [id, color] of colorsOf(all.slice(0, here))) assert.equal(color, whole.get(id), id);
  }
  for (let gone = 0; gone < all.length; gone += 1) {
    const rest = colorsOf(all.toSpliced(gone, 1));
    for (const { id } of all.slice(0, gone)) assert.equal(rest.get(id), whole.get(id), id);
  }
});

test('more than twelve begin again, and each round differs within itself', () => {
  const colors = [...colorsOf(crowd(24)).values()];
  assert.equal(new Set(colors.slice(12)).size, 12);
});

test('the order is that of joining, however a list is ordered', () => {
  const all = crowd(12);
  const colors = colorsOf(all);
  assert.deepEqual(new Map([...colorsOf(all.toReversed())].sort()), new Map([...colors].sort()));
  const together = ['b', 'a', 'c'].map((id) => ({ id, joinedAt: 5 }));
  assert.deepEqual([...colorsOf(together).keys()], ['a', 'b', 'c'], 'who came in one millisecond is ordered by id');
  assert.deepEqual([...colorsOf(['10', '9', '1'].map((id) => ({ id }))).keys()], ['10', '9', '1'], 'without a time the list is believed');
});

test('a colour that was chosen stands, and nobody after it looks like it', () => {
  const own = colorsOf(people('ann')).get('ann');
  const nearby = `#${(parseInt(own.slice(1), 16) ^ 0x010101).toString(16).padStart(6, '0')}`;
  for (const color of [own, nearby]) {
    const colors = colorsOf([{ id: 'x', joinedAt: 1, color, metas: [{ meta: { color } }] }, { id: 'ann', joinedAt: 2, metas: [] }]);
    assert.equal(colors.get('x'), color);
    assert.ok(distance(colors.get('ann'), color) >= APART, `${colors.get('ann')} looks like ${color}`);
  }
  // It stands also where the one before has the same, and if it is the colour of the id.
  const two = colorsOf([...people('ann'), { id: 'ann2', joinedAt: 2, color: own, metas: [{ meta: { color: own.toUpperCase() } }] }]);
  assert.deepEqual([...two.values()], [own, own]);
  const twelve = [{ id: 'x', joinedAt: 0, color: '#ffffff', metas: [] }, ...crowd(11)];
  assert.equal(new Set(colorsOf(twelve).values()).size, 12);
});

test('what is no colour of the gateway is nobody\'s', () => {
  for (const color of ['red', '#fff', 'url(x)', null, undefined, 7]) {
    assert.ok(light.includes(colorsOf([{ id: 'ann', color }]).get('ann')), String(color));
  }
});

test('a colour is painted for light and dark pages, and one that was chosen is what it is', () => {
  const [[day, night]] = palette;
  assert.deepEqual(paint(day), { background: `light-dark(${day},${night})`, color: 'light-dark(#fff,#000)' });
  assert.deepEqual(paint('#123456'), { background: 'light-dark(#123456,#123456)', color: 'light-dark(#fff,#fff)' });
  assert.deepEqual(shadesOf('#123456'), ['#123456', '#123456']);
});

test('the people of a state have their colours, those of the events too, and a part that is the same stays the same', () => {
  const wire = (id, at, more = {}) => ({ id, status: 'online', name: id, color: colorsOf(people(id)).get(id), joined_at: at, metas: [], ...more });
  const clash = crowd(200).map(({ id }) => id).filter((id) => colorsOf(people(id)).get(id) === light[0]).slice(0, 3);
  const [first, second, third] = clash;
  const it = new Picture();
  const frame = (version, more) => ({ channel: 'room:1', epoch: 'e', version, ...more });
  it.fold(frame(1, { type: 'presence:currentUsers', mode: 'full', count: 2, users: [wire(first, 1), wire(second, 2)], typing: [], cursors: [] }));
  const [a, b] = it.users;
  const [, next, last] = colorsOf(people(first, second, third)).values();
  assert.deepEqual([a.color, b.color], [light[0], next]);

  const [[, c]] = it.fold(frame(2, { type: 'presence:userJoined', user: wire(third, 3) })).events;
  assert.equal(c.color, last);
  assert.deepEqual(it.users.map((user, at) => user === [a, b, c][at]), [true, true, true]);

  const [[, after, before]] = it.fold(frame(3, { type: 'presence:userUpdated', user: wire(second, 2, { status: 'busy' }) })).events;
  assert.deepEqual([after.color, before.color, after === it.users[1], before === b], [next, next, true, true]);
  assert.equal(it.users[0], a);

  // The first leaves, by going or by hiding: those behind move up.
  const { events } = it.fold(frame(4, { type: 'presence:userLeft', user_id: first, reason: 'left' }));
  assert.deepEqual(events.map(([event, user]) => [event, user.color]), [['leave', light[0]]]);
  assert.deepEqual(it.users.map(({ id, color }) => [id, color]), [[second, light[0]], [third, next]]);
  const { users } = it;
  it.fold(frame(4, { type: 'presence:currentUsers', mode: 'full', count: 2, users: [wire(second, 2, { status: 'busy' }), wire(third, 3)], typing: [], cursors: [] }));
  assert.equal(it.users, users);
});
