// Validates docs/asyncapi.json with the parser of the AsyncAPI project. Fails on every error; shows warnings.
//   npm install --no-package-lock --prefix libs/contracts/asyncapi-check
//   npm test --prefix libs/contracts/asyncapi-check
import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";

const path = new URL("../../../docs/asyncapi.json", import.meta.url);
const { document, diagnostics } = await new Parser().parse(await readFile(path, "utf8"));

for (const { severity, path: where, message } of diagnostics.filter((found) => found.severity < 2)) {
  console.error(`${["error", "warning"][severity]} ${where.join(".")}: ${message}`);
}
if (!document || diagnostics.some((found) => found.severity === 0)) process.exit(1);
console.log(`asyncapi ${document.version()}: ${document.channels().all().length} channels, ` +
  `${document.operations().all().length} operations, ${document.allMessages().all().length} messages`);
