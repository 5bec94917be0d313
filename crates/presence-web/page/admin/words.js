/* Numbers, spans and moments as people read them. */

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
const day = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });
const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });

/** "14:03:10", with the day if it is not today. */
export function moment(ms) {
  const date = new Date(ms);
  const time = clock.format(date);
  return date.toDateString() === new Date().toDateString() ? time : `${day.format(date)}, ${time}`;
}

/** "8 s", "3 min", "2 h 10 min", "5 days". */
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} days`;
}

export const count = (value) => whole.format(value);

export const number = (value) => (value >= 1_000 ? whole : fine).format(value);

export function bytes(value) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let left = value;
  while (left >= 1_000 && unit < units.length - 1) {
    left /= 1_000;
    unit += 1;
  }
  return `${fine.format(left)} ${units[unit]}`;
}

export const perSecond = (value) => `${number(value)}/s`;

/** Processor time in cores, as per cent of one. */
export const cores = (value) => `${fine.format(value * 100)} %`;

export const milliseconds = (value) => `${fine.format(value)} ms`;

const stateNames = { alive: 'Alive', late: 'Late', dead: 'Dead', draining: 'Stopping', stopped: 'Stopped', unknown: 'Unknown', note: 'Note' };

export const stateName = (state) => stateNames[state] ?? state;
