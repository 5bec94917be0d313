/* Makes every module that imports React get the older one that is installed here. */

import { register } from 'node:module';

const hook = `
  export function resolve(specifier, context, next) {
    const isReact = /^react(-dom)?(\\/|$)/.test(specifier);
    return next(specifier, isReact ? { ...context, parentURL: ${JSON.stringify(import.meta.url)} } : context);
  }`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
