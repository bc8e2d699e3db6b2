// The server's names are snake_case, this client's camelCase. Only the names of fields are converted, not what they hold: maps
// such as `authorizationParams` reach the provider as they are. scripts/generate.mjs names the types in the same way.

/** The same object with each name in camelCase. */
export function toCamelCase(body: object): object {
  return renamed(body, (name) => name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()));
}

/** The same object with each name in snake_case. */
export function toSnakeCase(body: object): object {
  return renamed(body, (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
}

function renamed(body: object, rename: (name: string) => string): object {
  return Object.fromEntries(Object.entries(body).map(([name, value]) => [rename(name), value]));
}
