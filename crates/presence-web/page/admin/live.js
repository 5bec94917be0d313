/* What happens right now, on all gateways, with a filter that the gateways apply. */

import { $, arrange, h } from '../page/html.js';
import { ask } from './asking.js';
import { open } from './opening.js';
import { moment } from './words.js';

const LINES_MAX = 300;
/** Who looks back sees as many as this. */
const LINES_BACK_MAX = 2_000;
/** One answer has at most 200 lines, and with a filter it may have none and still not be the last one. */
const ASKS_MAX = 5;
/** Nodes do not look at their clocks at the same moment: what is a little older is asked for again. */
const OVERLAP_MS = 3_000;
/** How far back the first lines go, and those of a gateway that was silent for a while. */
const FIRST_MS = 600_000;
const TYPED_MS = 250;

export class Live {
  /** What is shown, latest first: `{ line, element }` by the id of the line. There is no gap in it. */
  #shown = new Map();
  /** Where the lines before those begin; null if there are none. */
  #older;
  #after = null;
  #isPaused = false;
  #filter = '';
  #isRefused = false;

  constructor(refresh) {
    $('live-pause').onclick = () => {
      this.#pause(!this.#isPaused);
      if (this.#isPaused) return;
      this.#show(this.#lines(), this.#older, LINES_MAX);
      $('live-scroll').scrollTop = 0;
      refresh();
    };
    $('live-older').onclick = () => this.#lookBack();
    let typing;
    const changed = () => {
      clearTimeout(typing);
      typing = setTimeout(() => {
        // Whoever looks for something else wants to see it.
        this.#pause(false);
        this.#begin();
        refresh();
      }, TYPED_MS);
    };
    $('live-text').oninput = changed;
    $('live-kind').onchange = changed;
    $('live-filter').onsubmit = (event) => {
      event.preventDefault();
      changed();
    };
  }

  /** A gateway without a key would tell everybody who hides. */
  refuse() {
    this.#isRefused = true;
    $('live-older').hidden = true;
    $('live-note').textContent = 'What happens says who hides, so it is told only where the gateway has a key.';
  }

  #pause(isPaused) {
    this.#isPaused = isPaused;
    $('live-pause').setAttribute('aria-pressed', isPaused);
    $('live-pause').textContent = isPaused ? 'Go on' : 'Pause';
  }

  #begin() {
    this.#filter = [$('live-text').value.trim(), $('live-kind').value].filter(Boolean).join(' ');
    this.#after = null;
    this.#show([], undefined, LINES_MAX);
  }

  /** Asks for what is new. `now` is the time of the gateway. */
  async look(now) {
    if (this.#isPaused || this.#isRefused) return;
    const filter = this.#filter;
    const after = this.#after ?? now - FIRST_MS;
    const told = await pages({ after_ms: after, filter });
    if (filter !== this.#filter || this.#isPaused) return;
    // Who did not answer may have lines that are older.
    this.#after = Math.max(after, told.asked_at_ms - (told.silent.length ? FIRST_MS : OVERLAP_MS));
    $('live-note').textContent = note(told);
    if (told.next) {
      // What is between these and the earlier ones is not here: it comes with the older ones.
      this.#show(told.transitions, told.next, LINES_MAX);
    } else if (told.transitions.some(({ id }) => !this.#shown.has(id)) || this.#older === undefined) {
      this.#show([...told.transitions, ...this.#lines()], this.#older, LINES_MAX);
    }
  }

  /** Asks for what is older than what is shown, and no longer for what is new. */
  async #lookBack() {
    this.#pause(true);
    const filter = this.#filter;
    $('live-older').disabled = true;
    try {
      const told = await pages({ filter, before: this.#older });
      if (filter !== this.#filter || !this.#isPaused) return;
      $('live-note').textContent = note({ ...told, next: null });
      this.#show([...this.#lines(), ...told.transitions], told.next, LINES_BACK_MAX);
    } catch (why) {
      $('live-note').textContent = why.message;
    } finally {
      $('live-older').disabled = false;
    }
  }

  #lines() {
    return [...this.#shown.values()].map(({ line }) => line);
  }

  /** Shows the latest `max` of `lines`. `older` is where those before them begin, if that is not the last line. */
  #show(lines, older, max) {
    const before = this.#shown;
    const sorted = [...new Map(lines.map((line) => [line.id, line])).values()].sort(latestFirst);
    const kept = sorted.slice(0, max);
    this.#shown = new Map(kept.map((line) => [line.id, before.get(line.id) ?? { line, element: row(line) }]));
    // Without one that is known, they begin after the last line.
    this.#older = kept.length < sorted.length ? kept.at(-1).id : older === undefined ? kept.at(-1)?.id : older;
    $('live-older').hidden = this.#isRefused || this.#older === null;
    arrange($('live'), [...this.#shown.values()].map(({ element }) => element));
  }
}

/** The order of the gateways: by time, then by node, ring and position. */
function latestFirst(a, b) {
  const [[atA, nodeA, ...placeA], [atB, nodeB, ...placeB]] = [a.id.split('-'), b.id.split('-')];
  return atB - atA || (nodeA < nodeB) - (nodeA > nodeB) || placeB[0] - placeA[0] || placeB[1] - placeA[1];
}

/** Asks on until there is enough, or nothing more. What is left begins at `next`. */
async function pages(query) {
  const all = { transitions: [], silent: [] };
  let asked = 0;
  do {
    const { transitions, silent, ...answer } = await ask('/admin/api/transitions', { ...query, before: all.next ?? query.before });
    Object.assign(all, { asked_at_ms: answer.asked_at_ms, ...all, next: answer.next, is_recorded: answer.is_recorded });
    all.transitions.push(...transitions);
    all.silent = [...new Set([...all.silent, ...silent])];
    asked += 1;
  } while (all.next && all.transitions.length < LINES_MAX && asked < ASKS_MAX);
  return all;
}

function note({ next, is_recorded: isRecorded, silent }) {
  if (!isRecorded) return 'Nothing is recorded: limits.history_bytes_max is 0 on this gateway.';
  const said = [];
  if (silent.length) said.push(`No answer from ${silent.join(', ')}.`);
  if (next) said.push('More happens than is shown: a filter helps, and “Older” has the rest.');
  return said.join(' ');
}

function row(line) {
  const person = h('button.link', { type: 'button', onclick: () => open('user', line.user_id) }, line.user_id);
  const room = line.channel && h('button.link', { type: 'button', onclick: () => open('room', line.channel) }, line.channel);
  const where = [line.gateway, line.cause?.replaceAll('_', ' ')].filter(Boolean).join(' · ');
  return h('li', { testid: 'line', data: { what: line.what } },
    h('time', { dateTime: new Date(line.at_ms).toISOString() }, moment(line.at_ms)),
    h('span.text', {}, person, ': ', line.text.replace(/^./, (first) => first.toLowerCase())),
    h('span.where', {}, where, room && ' · ', room));
}
