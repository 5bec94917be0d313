/* What all elements have: a beginning, an end, and a look that pages can style. */

/** Where pages are rendered on a server there are no elements, and they can be imported all the same. */
const Base = globalThis.HTMLElement ?? class {};

/** An element that begins once it is in a page and its attributes are there, and ends when it is gone. */
export class PresenceElement extends Base {
  #stops = null;

  connectedCallback() {
    this.#soon();
  }

  disconnectedCallback() {
    this.#soon();
  }

  attributeChangedCallback(name, before, now) {
    if (before !== now && this.#stops) this.restart();
  }

  /** Ends and begins again, if it has begun. */
  restart() {
    if (!this.#stops) return;
    const stops = this.#stops;
    this.#stops = this.begin();
    // Afterwards: a room that both are in is not left in between.
    for (const stop of stops) stop();
  }

  /** Begins to show; returns what ends that: a list of functions. */
  begin() {
    return [];
  }

  /** An element that is moved within its page, as Turbo and LiveView do, goes on. */
  #soon() {
    queueMicrotask(() => {
      if (this.isConnected === Boolean(this.#stops)) return;
      if (this.isConnected) {
        this.#stops = this.begin();
      } else {
        for (const stop of this.#stops) stop();
        this.#stops = null;
      }
    });
  }
}

/** A shadow root with `css`, made once for each element. A style sheet that is made by a script needs no permission of the page's policy. */
export function rooted(element, sheet) {
  if (element.shadowRoot) return element.shadowRoot;
  const root = element.attachShadow({ mode: 'open' });
  root.adoptedStyleSheets = [sheet];
  return root;
}

export function sheetOf(css) {
  if (!globalThis.CSSStyleSheet) return null;
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(css);
  return sheet;
}

/** An element with attributes and children; `style` is an object. */
export function h(name, { style, ...attributes } = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(key, value);
  }
  Object.assign(element.style, style);
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ''));
  return element;
}
