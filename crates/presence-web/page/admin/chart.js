/* A value over the last hour, as a picture. */

import { h, svgElement } from '../page/html.js';
import { span } from './words.js';

const HOUR_MS = 3_600_000;
/** A short history is not drawn narrower than this. */
const SPAN_MS_MIN = 300_000;
/** Between two samples that are further apart than this, nothing is known: one is taken in ten seconds. */
const GAP_MS = 25_000;
const [WIDTH, HEIGHT] = [300, 34];

/** The pieces of the curve, each a list of points. */
function pieces(points) {
  const all = [];
  for (const point of points) {
    const last = all.at(-1);
    if (last && point.at - last.at(-1).at <= GAP_MS) last.push(point);
    else all.push([point]);
  }
  return all;
}

/** The span that a picture of `points` is about, in milliseconds. */
function widthOf(points) {
  const known = points.length ? points.at(-1).at - points[0].at : 0;
  return Math.min(HOUR_MS, Math.max(SPAN_MS_MIN, known));
}

export class Chart {
  #value = h('span.chart-value');
  #most = h('span.chart-most');
  #area = svgElement('path', { class: 'area' });
  #curve = svgElement('path', { class: 'curve' });
  #svg = svgElement('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
  #name;
  #format;
  #drawn = '';
  element;

  constructor(name, format) {
    this.#name = name;
    this.#format = format;
    this.#svg.append(this.#area, this.#curve);
    this.element = h('div.chart', {}, h('span.chart-name', {}, name), h('span', {}, this.#value, ' ', this.#most), this.#svg);
  }

  /** Shows `now`, which may be undefined, and `points`: `{ at, value }` each, oldest first. */
  show(now, points) {
    this.#value.textContent = now === undefined ? '–' : this.#format(now);
    const last = points.at(-1);
    const key = `${points.length} ${last?.at}`;
    if (key === this.#drawn) return;
    this.#drawn = key;
    const most = Math.max(...points.map(({ value }) => value), 0);
    this.#most.textContent = most > 0 ? `max ${this.#format(most)}` : '';
    const end = last?.at ?? 0;
    const width = widthOf(points);
    const x = ({ at }) => (WIDTH * (1 - (end - at) / width)).toFixed(1);
    const y = ({ value }) => (HEIGHT - (most ? (HEIGHT - 2) * (value / most) : 0)).toFixed(1);
    const lines = pieces(points).map((piece) => ({
      from: x(piece[0]), to: x(piece.at(-1)), path: piece.map((point) => `${x(point)} ${y(point)}`).join('L'),
    }));
    this.#curve.setAttribute('d', lines.map(({ path }) => `M${path}`).join(''));
    this.#area.setAttribute('d', lines.map(({ from, to, path }) => `M${from} ${HEIGHT}L${path}L${to} ${HEIGHT}Z`).join(''));
    const over = points.length > 1 ? span(end - points[0].at) : 'no time yet';
    this.#svg.setAttribute('aria-label', `${this.#name} over ${over}: at most ${this.#format(most)}`);
  }
}
