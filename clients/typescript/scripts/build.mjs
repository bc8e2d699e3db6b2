// Compiles src into dist: once as ES modules, once as CommonJS. Also copies the licenses, which npm packs.

import { execFileSync } from "node:child_process";
import { copyFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const tsc = (...options) =>
  execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", ...options], { stdio: "inherit" });

rmSync("dist", { recursive: true, force: true });
tsc();
tsc("--module", "commonjs", "--moduleResolution", "node10", "--verbatimModuleSyntax", "false", "--outDir", "dist/cjs");
// The package is "type": "module"; these files are not.
writeFileSync("dist/cjs/package.json", '{ "type": "commonjs" }\n');
for (const license of ["LICENSE-MIT", "LICENSE-APACHE"]) copyFileSync(`../../${license}`, license);
