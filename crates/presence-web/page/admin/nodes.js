/* The gateways: state, lease, levels, and pictures of the last hour. */

import { $, arrange, h } from '../page/html.js';
import { act } from './acting.js';
import { Chart } from './chart.js';
import { bytes, cores, count, milliseconds, perSecond, span, stateName } from './words.js';

const HOUR_MS = 3_600_000;

/** The column of the samples, the level now, what it is called, and how it is written. */
const CHARTS = [
  ['connections', 'connections', 'Connections', count],
  ['users', 'users', 'People online', count],
  ['opened', 'opened_per_second', 'Connects', perSecond],
  ['frames_in', 'frames_in_per_second', 'Frames in', perSecond],
  ['frames_out', 'frames_out_per_second', 'Frames out', perSecond],
  ['queued_bytes', 'queued_bytes', 'Send queues', bytes],
  ['mailboxes', 'mailboxes', 'Mailboxes', count],
  ['webhooks_waiting', 'webhooks_waiting', 'Webhooks waiting', count],
  ['cpu', 'cpu', 'CPU, of one core', cores],
  ['memory_bytes', 'memory_bytes', 'Memory', bytes],
  ['store_ms', 'store_ms', 'Redis call', milliseconds],
];

class NodeCard {
  #samples = [];
  /** Up to when all samples are here. */
  #complete = 0;
  #pictures;
  #charts = CHARTS.map(([column, level, name, format]) => ({ column, level, chart: new Chart(name, format) }));
  #name = h('h3');
  #state = h('span.state');
  #version = h('span.mark', { testid: 'other-version', hidden: true }, 'Other version');
  #facts = h('p.node-facts');
  #span = h('p.node-facts');
  #drain = h('button.quiet.small', { type: 'button' }, 'Drain');
  #node;
  #isLast = false;
  element;

  constructor() {
    this.#drain.onclick = () => this.#askDrain();
    this.#pictures = h('div.charts', {}, ...this.#charts.map(({ chart }) => chart.element));
    this.element = h('li.card.node', {},
      h('div.node-head', {}, this.#name, this.#state, this.#version, h('div.actions', {}, this.#drain)),
      this.#facts,
      this.#pictures,
      this.#span);
  }

  /** The moment after which samples are wanted of it; null if it does not answer. */
  get wantsAfter() {
    return this.#node.levels ? this.#complete : null;
  }

  /** Whether it has stopped on purpose: it is shown after those that somebody may have to look at. */
  get isOver() {
    return this.#node.state === 'stopped';
  }

  /** What it said to a question for the samples after `after`: all of them. */
  #keep(samples, after) {
    const all = [...this.#samples.filter(([at]) => at <= after), ...samples];
    const last = all.at(-1)?.[0] ?? 0;
    // Where it was not asked for all, some before `after` may be missing.
    if (after <= this.#complete) this.#complete = last;
    this.#samples = all.filter(([at]) => at > last - HOUR_MS);
  }

  show(node, { columns, asked_at_ms: now, store }, after, isLast) {
    this.#node = node;
    this.#isLast = isLast;
    Object.assign(this.element.dataset, { state: node.state, silent: node.silent, testid: `node-${node.name}` });
    this.#name.textContent = node.name;
    this.#state.textContent = stateName(node.state);
    this.#state.dataset.state = node.state;
    this.#version.hidden = !node.is_other_version;
    this.#facts.textContent = facts(node, now).join(' · ');
    this.#drain.hidden = ['dead', 'draining', 'stopped', 'unknown'].includes(node.state);
    this.#drain.setAttribute('aria-label', `Drain ${node.name}`);
    if (node.levels) this.#keep(node.samples, after);
    this.#pictures.hidden = node.state === 'stopped' && !this.#samples.length;
    const [first, end] = [this.#samples[0]?.[0], this.#samples.at(-1)?.[0]];
    this.#span.textContent = first < end ? `The pictures show the last ${span(end - first)}.` : '';
    for (const { column, level, chart } of this.#charts) {
      const at = columns.indexOf(column);
      chart.element.hidden = column === 'store_ms' && store === 'none';
      chart.show(node.levels?.[level], this.#samples.map(([moment, values]) => ({ at: moment, value: values[at] })));
    }
  }

  #askDrain() {
    const { id, name } = this.#node;
    act({
      title: `Drain ${name}?`,
      text: `It lets nobody in, tells its clients to come back elsewhere, and ends its process once they are gone. What runs it may start it again.${this.#isLast ? ' No other gateway is alive: nobody can connect until one starts.' : ''}`,
      button: 'Drain',
      path: `/admin/api/nodes/${encodeURIComponent(id ?? name)}/drain`,
      done: `${name} is stopping`,
      unconfirmed: `${name} was asked to stop, and has not answered yet`,
    });
  }
}

function facts(node, now) {
  const said = [];
  if (node.is_me) said.push('answers this page');
  if (node.silent && node.state === 'alive') said.push('did not answer the last question');
  if (node.version) said.push(`version ${node.version}`);
  if (node.started_at_ms) said.push(`up ${span(now - node.started_at_ms)}`);
  const { lease_until_ms: until } = node;
  if (node.state === 'stopped') said.push('stopped on purpose');
  else if (node.state === 'dead') said.push(`dead for ${span(now - until)}`);
  else if (until > now) said.push(`lease ${span(until - now)}`);
  else if (until) said.push(`lease ended ${span(now - until)} ago`);
  if (node.heard_ms && !node.is_me && node.silent) said.push(`last heard ${span(now - node.heard_ms)} ago`);
  return said;
}

export class Nodes {
  #cards = new Map();

  /** The moment after which samples are wanted: what every gateway that answers has sent by then is here. */
  get after() {
    const wanted = [...this.#cards.values()].map((card) => card.wantsAfter).filter((at) => at !== null);
    return wanted.length ? Math.min(...wanted) : 0;
  }

  /** Shows the answer to a question for the samples after `after`. */
  show(overview, after) {
    const { nodes } = overview;
    const before = this.#cards;
    this.#cards = new Map(nodes.map((node) => {
      const key = node.id ?? node.name;
      return [key, before.get(key) ?? new NodeCard()];
    }));
    for (const node of nodes) {
      const isLast = !nodes.some((other) => other !== node && other.state === 'alive');
      this.#cards.get(node.id ?? node.name).show(node, overview, after, isLast);
    }
    const cards = [...this.#cards.values()];
    const ordered = [...cards.filter((card) => !card.isOver), ...cards.filter((card) => card.isOver)];
    arrange($('nodes'), ordered.map(({ element }) => element));
    showTotals(overview);
  }
}

/** What is shown of all gateways together. */
const TOTALS = [
  ['gateways', 'Gateways', count],
  ['connections', 'Connections', count],
  ['users', 'People online', count, 'Somebody on two gateways is counted twice'],
  ['opened_per_second', 'Connects', perSecond],
  ['frames_in_per_second', 'Frames in', perSecond],
  ['frames_out_per_second', 'Frames out', perSecond],
  ['cpu', 'CPU, of one core', cores],
  ['memory_bytes', 'Memory', bytes],
];

/** One gateway has its own numbers. */
function showTotals({ nodes, totals }) {
  $('totals').hidden = nodes.length < 2;
  $('totals').replaceChildren(...TOTALS.map(([key, name, format, title]) => h('div', { title }, h('dt', {}, name), h('dd', { testid: `total-${key}` }, format(totals[key])))));
}
