// Writes src/openapi.ts, the types of the request and response bodies, from the server's own description.
//
//   npm run generate                       with the built server, target/debug/agent-auth
//   npm run generate -- openapi.json       with a description that `agent-auth openapi` printed
//   npm run generate -- --check            fails if src/openapi.ts is not what would be written
//
// The server's names are snake_case and those of this client camelCase; src/names.ts converts them at run time.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import openapiTS, { astToString } from "openapi-typescript";

// The bodies that src/client.ts uses, and what they refer to.
const ROOTS = [
  "AuthAuthenticateRequest",
  "AuthAuthenticateResponse",
  "AuthWaitResponse",
  "AuthorizationConfirmRequest",
  "Confirmed",
  "Deleted",
  "DeletedProvider",
  "ErrorBody",
  "HTTPValidationError",
  "OAuthProviderCreateRequest",
  "OAuthProviderResponse",
  "OAuthProviderUpdateRequest",
  "OAuthTokenStatusResponse",
  "OAuthTokenSummary",
  "TokenReportRequest",
  "TokenReportResponse",
];
const HEADER = "// Made by scripts/generate.mjs from the server's OpenAPI description. Do not edit: run `npm run generate`.\n\n";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const camelCase = (name) => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());

function description(file) {
  if (file) return JSON.parse(readFileSync(file, "utf8"));
  const binary = process.env.TEST_AGENT_AUTH ?? here("../../../target/debug/agent-auth");
  if (!existsSync(binary)) throw new Error(`${binary} is missing: run \`cargo build\`, or pass a file`);
  return JSON.parse(execFileSync(binary, ["openapi"], { encoding: "utf8", maxBuffer: 1 << 26 }));
}

/** The schemas that the roots reach, by name. */
function reachable(schemas) {
  const found = new Map();
  const visit = (name) => {
    if (found.has(name)) return;
    if (!schemas[name]) throw new Error(`the description has no schema ${name}: is it renamed? See ROOTS`);
    found.set(name, schemas[name]);
    for (const [, other] of JSON.stringify(schemas[name]).matchAll(/"#\/components\/schemas\/(\w+)"/g)) visit(other);
  };
  ROOTS.forEach(visit);
  return Object.fromEntries([...found].sort(([a], [b]) => a.localeCompare(b, "en")));
}

/** The same schemas with names in camelCase: of the properties, and where a description mentions one. */
function renamed(schemas) {
  const all = new Set(Object.values(schemas).flatMap((schema) => Object.keys(schema.properties ?? {})));
  for (const name of all) {
    const back = camelCase(name).replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (back !== name) throw new Error(`src/names.ts would send ${name} as ${back}`);
  }
  // In prose, `auth_id` is the parameter that is added to a URL, which keeps its name.
  const isProperty = (word) => all.has(word) && word !== "auth_id";
  const prose = (text) => text?.replace(/`([a-z_]+)`/g, (quoted, word) => (isProperty(word) ? `\`${camelCase(word)}\`` : quoted));
  // Examples are in the server's names.
  const rename = ({ example, examples, ...schema }) => ({
    ...schema,
    ...(schema.description && { description: prose(schema.description) }),
    ...(schema.required && { required: schema.required.map(camelCase) }),
    ...(schema.properties && {
      properties: Object.fromEntries(
        Object.entries(schema.properties).map(([name, value]) => [
          camelCase(name),
          value.description ? { ...value, description: prose(value.description) } : value,
        ]),
      ),
    }),
  });
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, rename(schema)]));
}

const options = process.argv.slice(2);
const check = options.includes("--check");
const { openapi, info, components } = description(options.find((option) => option !== "--check"));
const schemas = renamed(reachable(components.schemas));
const ast = await openapiTS(
  { openapi, info, paths: {}, components: { schemas } },
  { defaultNonNullable: false, rootTypes: true, rootTypesNoSchemaPrefix: true, silent: true },
);
const written = HEADER + astToString(ast);
const target = here("../src/openapi.ts");
if (!check) writeFileSync(target, written);
else if (!existsSync(target) || readFileSync(target, "utf8") !== written) {
  console.error("src/openapi.ts is not what the server's description says: run `npm run generate`, and commit it.");
  process.exitCode = 1;
}
