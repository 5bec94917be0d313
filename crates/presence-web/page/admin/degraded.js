/* What is degraded, where, and since when. */

import { $, Rows, h } from '../page/html.js';
import { moment, span, stateName } from './words.js';

const rows = new Rows();

export function showDegraded({ degraded, asked_at_ms: now }) {
  const faults = degraded.filter(({ state }) => state !== 'note').length;
  $('healthy').textContent = faults ? '' : degraded.length ? 'No fault is known.' : 'Nothing: all gateways and stores work.';
  $('healthy').hidden = faults > 0;
  rows.render($('degraded'), degraded, {
    key: ({ gateway, what }) => `${gateway} ${what}`,
    parts: ({ state, text, since_ms: since }) => [state, text, since],
    make: ({ gateway, what, state, text, since_ms: since }) => h('li.trouble', { testid: `trouble-${what}`, data: { state, since } },
      h('span.state', { data: { state } }, stateName(state)),
      h('strong', {}, gateway),
      h('span.text', {}, text),
      h('span.since', { ariaHidden: 'true' })),
  });
  // Of what goes on, only the span changes: that is not read out.
  for (const row of $('degraded').children) {
    const since = Number(row.dataset.since);
    row.lastElementChild.textContent = `since ${moment(since)}, for ${span(now - since)}`;
  }
}
