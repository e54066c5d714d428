// What the build, the tests and the setup share: paths, file lists, hashes, child processes.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** The absolute path of a file of the project. */
export const at = (...parts) => join(root, ...parts);

/** Every file below the given folders (paths relative to the project, `/` between), sorted. */
export function filesBelow(...folders) {
  const found = [];
  for (const folder of folders) {
    if (!existsSync(at(folder))) continue;
    for (const entry of readdirSync(at(folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      found.push(relative(root, join(entry.parentPath ?? entry.path, entry.name)).replaceAll('\\', '/'));
    }
  }
  return found.sort();
}

/** One hash over names and contents, so that a renamed file counts as a change. */
export function hashFiles(files) {
  const hash = createHash('sha256');
  for (const file of files)
    hash
      .update(`${file}\0`)
      .update(readFileSync(at(file)))
      .update('\0');
  return hash.digest('hex');
}

/** Writes a file so that a reader (or a second build) never sees half of it. */
export function writeWhole(path, contents) {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, contents);
  renameSync(temporary, path);
}

/** Runs a program in the project folder and resolves to its exit code and everything it printed. */
export function run(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let output = '';
    const collect = (chunk) => {
      output += chunk;
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    child.on('error', (error) => resolve({ code: 1, output: `${output}${error.message}\n` }));
    child.on('close', (code, signal) =>
      resolve({ code: code ?? 1, output: signal ? `${output}${signal}\n` : output }),
    );
  });
}

/** Runs a tool that npm installed, by its script rather than its shim: the shims differ by platform. */
export function runTool(script, args) {
  return run(process.execPath, [at('node_modules', script), ...args]);
}

export function progress(line) {
  process.stderr.write(`${line}\n`);
}
