// Imports one of the built programs. In a clone that was not built yet, builds it first.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Runs dist/<name>.js. */
export async function startBuilt(name) {
  const program = new URL(`../dist/${name}.js`, import.meta.url);
  const module = new URL('../dist/backplane.wasm', import.meta.url);
  const setup = fileURLToPath(new URL('../scripts/setup.mjs', import.meta.url));
  if (![program, module].every((file) => existsSync(file)) && existsSync(setup)) {
    // What setup prints goes to stderr: stdout belongs to the command.
    const { status } = spawnSync(process.execPath, [setup], {
      stdio: ['ignore', process.stderr, process.stderr],
    });
    if (status !== 0) process.exit(status ?? 1);
  }
  await import(program.href);
}
