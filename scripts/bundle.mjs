// Bundles TypeScript that is not shipped (tests, benchmarks, examples) so that Node 20 can run it.

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { at, root } from './util.mjs';

/**
 * Bundles each file into `.cache/<kind>-<process id>/`, all in one folder, with the WASM module beside them:
 * that is where code in src/ looks for it, as in dist/. Returns [source, bundle] pairs.
 * Without splitting, files share no state; coverage needs it on: c8 counts a file wrong that is in two bundles.
 */
export async function bundleFiles(kind, sources, { coverage = false } = {}) {
  const esbuild = await import('esbuild');
  const folder = scratchFolder(kind, { keep: coverage });
  for (const name of ['backplane.wasm', 'backplane.debug.wasm']) {
    if (existsSync(at('dist', name))) copyFileSync(at('dist', name), join(folder, name));
  }
  const name = (source) => source.replace(/\.m?ts$/, '').replaceAll('/', '-');
  await esbuild.build({
    absWorkingDir: root,
    entryPoints: Object.fromEntries(sources.map((source) => [name(source), source])),
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: coverage,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    loader: { '.ss': 'text' },
    minifySyntax: !coverage,
    treeShaking: !coverage, // what no test reaches must show
    sourcemap: true,
    sourcesContent: coverage,
    logLevel: 'silent',
  });
  if (coverage) makeSourcesAbsolute(folder);
  return sources.map((source) => [source, join(folder, `${name(source)}.mjs`)]);
}

/** c8 matches its filters against the sources as the map spells them. */
function makeSourcesAbsolute(folder) {
  for (const name of readdirSync(folder)) {
    if (!name.endsWith('.map')) continue;
    const map = JSON.parse(readFileSync(join(folder, name), 'utf8'));
    map.sources = map.sources.map((source) => resolve(folder, source));
    writeFileSync(join(folder, name), JSON.stringify(map));
  }
}

/** A folder of this process, because two may run in one tree; folders of processes that are gone are removed. */
function scratchFolder(kind, { keep }) {
  mkdirSync(at('.cache'), { recursive: true });
  for (const name of readdirSync(at('.cache'))) {
    const [, pid] = /^[a-z]+-(\d+)$/.exec(name) ?? [];
    if (pid !== undefined && !isAlive(Number(pid)))
      rmSync(at('.cache', name), { recursive: true, force: true });
  }
  const folder = at('.cache', `${kind}-${process.pid}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  if (!keep) process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
