/** How people are written and drawn: for components that show them. */

/** What statuses are called. */
export const statusNames: Readonly<Record<'online' | 'away' | 'busy' | 'invisible' | 'offline', string>>;

/** Two letters that stand for a name. */
export function initials(name: string): string;

/** Black or white, whichever is easier to read on `color`, which the gateway tells as `#rrggbb` or `#rrggbbaa`. */
export function inkOn(color: string): '#000' | '#fff';

/** `color` as a background and what can be read on it: values of CSS, by `light-dark()` for light pages and for dark ones. */
export function paint(color: string): { background: string; color: string };

/** Who is typing, in words; empty for nobody. */
export function says(names: readonly string[]): string;

/** How long ago `then` was, in words. Both are milliseconds. */
export function ago(then: number, now: number): string;
